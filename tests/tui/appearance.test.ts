import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { ModelRequest, Reply } from '../harness/script.ts'
import type { Colour, Terminal } from '../harness/terminal.ts'
import { startTuiStage, type TuiStage } from '../harness/tui.ts'

let stage: TuiStage
let terminal: Terminal

const DIALOG = /Background tasks: |Copy its id|esc closes/

const ODD = 'first\u001B[31m red\u001B[0m\u0007 behind the bell\tand a tab'
const REFUSED = `the provider refused, and said why at such a length that it ends far to the right: here`

function child({ messages }: ModelRequest): Reply | Promise<Reply> {
  const asked = messages.findLast(({ role }) => role === 'user')?.content ?? ''
  if (asked === 'break') return { status: 400, text: REFUSED }
  if (asked === 'say something odd') return { text: ODD }
  if (asked.startsWith('hold')) return new Promise(() => {})
  return { text: 'done' }
}

beforeAll(async () => {
  stage = await startTuiStage({
    child,
    tuiOptions: { key: false },
    cost: { input: 2000, output: 2000 },
  })
  terminal = await stage.open({ columns: 150, rows: 45 })
})
afterAll(() => stage.close())
afterEach(async () => {
  if (DIALOG.test(await terminal.screen())) await terminal.press('Escape')
  await terminal.resize(150, 45)
  await terminal.see((screen) => screen.includes('Context') && !DIALOG.test(screen))
})

async function openDialog(): Promise<string> {
  await terminal.press('C-p')
  await terminal.see('Commands')
  await terminal.type('Background tasks', 'Search')
  const palette = await terminal.see('Background tasks The background tasks of')
  await terminal.press('Enter')
  await terminal.see('Background tasks: ')
  return palette
}

/** Returns the contrast by WCAG: 1 for equal colours, 21 for black on white. */
function contrast([ink, paper]: readonly [Colour, Colour]): number {
  const light = (colour: Colour): number => {
    const [red = 0, green = 0, blue = 0] = colour.map((value) =>
      value <= 10 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4,
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
  }
  return Math.max(light(ink), light(paper)) / Math.min(light(ink), light(paper))
}

test('the dialog shows the cost of each task and of all', async () => {
  await stage.root.launch('count the tests', 'count the files')
  await terminal.see('Background all ended')
  await terminal.see('✓ general count the files')
  await openDialog()
  await terminal.see([
    'Background tasks: all ended · 30 tokens · $0.06',
    /✓ count the tests general .*s · 15 tokens · \$0\.03/,
  ])
})

test('the palette opens the dialog when no key is bound, and shows none', async () => {
  await terminal.press('C-x', 'j')
  // The prompt received the key.
  await terminal.see(/┃ {2}j\n/)
  await terminal.press('BSpace')
  expect(await openDialog()).not.toContain('ctrl+x j')
})

test('the dialog follows the width of the terminal, also when all tasks have ended', async () => {
  await stage.root.quietBesidesChildren()
  await stage.root.launch('break')
  await terminal.see('✗ general break')
  await terminal.resize(60, 30)
  await openDialog()
  await terminal.see(/✗ break general · the pr.*…/)
  await terminal.resize(150, 45)
  await terminal.see(/✗ break general · the provider refused, and said why at such a length/)
})

test('the dialog shows a result whole, without its escape sequences and bell', async () => {
  await stage.root.quietBesidesChildren()
  await stage.root.launch('say something odd')
  await terminal.see('✓ general say something odd')
  await openDialog()
  await terminal.type('odd', 'Filter')
  await terminal.see((screen) => !screen.includes('✗ break general ·'))
  await terminal.press('Enter')
  await terminal.see('Copy its id')
  await terminal.type('Read', 'Search')
  await terminal.see((screen) => !screen.includes('Copy its id'))
  await terminal.press('Enter')
  await terminal.see('esc closes')
  await terminal.see(/ first red\\x07 behind the bell +and a tab/)
})

test('a long name of a task leaves room for its actions', async () => {
  await stage.root.quietBesidesChildren()
  const label = `hold ${'on and '.repeat(120)}on`
  await stage.root.call([{ name: 'run_background', args: { command: 'sleep 600', label } }])
  await terminal.see('● $ hold on and on')
  await terminal.resize(80, 24)
  await openDialog()
  await terminal.press('Enter')
  await terminal.see(['Copy its id', 'Kill it'])
  await terminal.type('Kill', 'Search')
  await terminal.press('Enter')
  await terminal.see((now) => !now.includes('● $ hold on and on'))
})

test('the view is readable in the colours of a light and a dark theme', async () => {
  await stage.root.quietBesidesChildren()
  await stage.root.launch('hold the line')
  await terminal.see('● general hold the line')
  const shown = ['Background', 'running', 'general hold the line', '● ', '✗', '✓']
  const colours = async (): Promise<(readonly [Colour, Colour])[]> =>
    await Promise.all(shown.map((text) => terminal.coloursOf(text)))
  const dark = await colours()
  await terminal.press('C-p')
  await terminal.see('Commands')
  await terminal.type('light mode', 'Search')
  await terminal.see('Switch to light mode')
  await terminal.press('Enter')
  await terminal.see((screen) => screen.includes('general hold the line') && !screen.includes('light mode'))
  let light: (readonly [Colour, Colour])[] = []
  await expect
    .poll(async () => {
      light = await colours()
      return shown.filter((_, index) => String(light[index]) === String(dark[index]))
    })
    .toEqual([])
  expect(Math.min(...[...dark, ...light].map(contrast))).toBeGreaterThan(2.5)
})
