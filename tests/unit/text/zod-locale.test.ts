import { expect, test } from 'vitest'
import { en } from 'zod/locales'
import * as z from 'zod/mini'
import { englishLocale } from '../../../src/text/zod-locale.ts'

test.each([
  [z.string(), 5],
  [z.string(), null],
  [z.string(), []],
  [z.string(), {}],
  [z.number(), 'many'],
  [z.number(), Number.NaN],
  [z.int(), 1.5],
  [z.boolean(), undefined],
  [z.enum(['a', 'b']), 'c'],
  [z.literal('a'), 'b'],
  [z.int().check(z.minimum(1)), 0],
  [z.int().check(z.maximum(90)), 91],
  [z.number().check(z.positive()), 0],
  [z.number().check(z.lt(5)), 5],
  [z.int(), Number.MAX_VALUE],
  [z.string().check(z.minLength(1)), ''],
  [z.string().check(z.maxLength(1)), 'ab'],
  [z.array(z.string()).check(z.minLength(2)), ['a']],
  [z.strictObject({ a: z.string() }), 'a'],
  [z.record(z.string(), z.int()), { a: 'b' }],
  [z.array(z.string()), ['a', 1]],
])('an error of a schema reads as in the locale of zod (%#)', (schema, value) => {
  const messagesBy = (locale: { readonly error: z.core.$ZodErrorMap }): string[] | undefined =>
    schema.safeParse(value, locale).error?.issues.map(({ message }) => message)
  expect(messagesBy(englishLocale)).toEqual(messagesBy({ error: en().localeError }))
})
