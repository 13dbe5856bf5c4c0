/** The options of the TUI part: the second element of the plugin's tuple in tui.json. */
import * as z from 'zod/mini'
import { meaning } from '../option-meaning.ts'
import { option, parseAs, type Parsed } from '../parse-options.ts'

/** OpenCode's own bindings do not use this key. */
const DEFAULT_KEY = '<leader>j'

const optionsSchema = z.strictObject({
  key: option(
    z.union(
      [z.string().check(z.minLength(1)), z.literal(false)],
      'expected a key such as "f6", or false for none',
    ),
    DEFAULT_KEY,
    meaning('the key that opens /tasks; `false`: none'),
  ),
})

export function parseTuiOptions(input: unknown): Parsed<z.output<typeof optionsSchema>> {
  return parseAs(optionsSchema, input)
}
