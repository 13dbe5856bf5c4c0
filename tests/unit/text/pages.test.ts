import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ends, pageOf, type PageLimits, type Piece } from '../../../src/text/pages.ts'
import { sanitizeForModel } from '../../../src/text/sanitize.ts'

const LIMITS: PageLimits = { bytes: 40, lines: 4 }

const piece = (source: string | Buffer, offset = 0): Piece => {
  const whole = Buffer.from(source)
  return { bytes: whole.subarray(offset), offset, size: whole.length }
}

/** Returns all pages, each from the `next` of the one before; for each page `read` bytes are read. */
function pagesOf(source: string | Buffer, limits = LIMITS, read = Infinity): string[] {
  const size = Buffer.byteLength(source)
  const texts: string[] = []
  for (let offset = 0; offset < size;) {
    const all = piece(source, offset)
    const page = pageOf({ ...all, bytes: all.bytes.subarray(0, read) }, limits)
    expect(page.next).toBeGreaterThan(offset)
    texts.push(page.text)
    offset = page.next
  }
  return texts
}

const texts = fc.array(fc.constantFrom('a', 'word ', '\n', 'ü', '€', '😀', '\0', '\u202e', '<task id='))

test('the pages together are the whole text, with any content and any read size', () => {
  const reads = fc.constantFrom(4, 7, 50, Infinity)
  fc.assert(
    fc.property(texts, reads, (parts, read) => {
      const text = parts.join('')
      const pages = pagesOf(text, LIMITS, read)
      expect(pages.join('')).toBe(text)
      for (const page of pages) {
        expect(Buffer.byteLength(sanitizeForModel(page))).toBeLessThanOrEqual(LIMITS.bytes)
        expect(page.split('\n').length).toBeLessThanOrEqual(LIMITS.lines + 1)
      }
    }),
  )
})

test('a page ends with a whole line if that fills at least half of the page', () => {
  expect(pagesOf('0123456789 0123456789\n0123456789 0123456789 0123456789')[0]).toBe(
    '0123456789 0123456789\n',
  )
  expect(pagesOf(`short\n${'x'.repeat(60)}`)[0]).toBe(`short\n${'x'.repeat(34)}`)
})

test('invalid UTF-8 becomes replacement characters, and the pages end', () => {
  const bytes = Buffer.from([0x61, 0xff, 0xc3, 0x28, 0xe2, 0x82, 0x62, 0xf0])
  expect(pagesOf(bytes).join('')).toBe('a\uFFFD\uFFFD(\uFFFDb\uFFFD')
})

test('ends returns a text that fits whole; otherwise its marker names the bytes left out and their offset', () => {
  const marker = (bytes: number, offset: number): string => `[${bytes} from ${offset}]`
  expect(ends('0123456789', LIMITS, marker)).toBe('0123456789')
  expect(ends('0'.repeat(50), LIMITS, marker)).toBe(`${'0'.repeat(20)}\n[10 from 20]\n${'0'.repeat(20)}`)
  expect(ends('a\nb\nc\nd\ne\nf\n', LIMITS, marker)).toBe('a\nb\n[4 from 4]\ne\nf\n')
})

test('the bytes and the offset of the marker are exactly the text that is left out', () => {
  fc.assert(
    fc.property(texts, (parts) => {
      const text = parts.join('')
      let gap = { bytes: 0, offset: 0 }
      const cut = ends(text, LIMITS, (bytes, offset) => {
        gap = { bytes, offset }
        return '|'
      })
      const source = Buffer.from(text)
      const head = source.subarray(0, gap.offset).toString()
      const tail = source.subarray(gap.offset + gap.bytes).toString()
      expect(cut).toBe(gap.bytes === 0 ? text : `${head.replace(/\n$/, '')}\n|\n${tail}`)
    }),
    { examples: [[['\0', '\0', '\u202e', '<task id=', '😀', '€', '😀', '€', 'a']]] },
  )
})
