import { expect, test } from 'vitest'
import { compact, expand } from '../../src/session-timeline/browser/compact.ts'
import { usePages } from './open-page.ts'
import { sampleTimeline } from './sample.ts'
import type {
  RunTimeline,
  SessionTimeline,
  TaskTimeline,
} from '../../src/session-timeline/session-timeline.ts'

const open = usePages()

const EMPTY: SessionTimeline = {
  ...sampleTimeline({ tasks: 0 }),
  turns: [],
}

test('the page draws rows and a table from a file, without a complaint and without a request', async () => {
  const { page, complaints, requests } = await open(sampleTimeline({ tasks: 20 }))
  expect(await page.locator('tbody tr').count()).toBe(20)
  expect(await page.locator('svg.rows .row.task .model').first().getAttribute('d')).toMatch(/^M/)
  expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('Get the release ready')
  expect(complaints).toEqual([])
  expect(requests).toEqual([])
})

test('the compact form of a timeline keeps all of it', () => {
  const timeline = sampleTimeline({ tasks: 40 })
  expect(expand(JSON.parse(JSON.stringify(compact(timeline))) as ReturnType<typeof compact>)).toEqual(
    timeline,
  )
})

test('the redacted page of 500 tasks with 10,000 turns is below 1 MB, and has all turns', async () => {
  const timeline = sampleTimeline({ tasks: 500, isRedacted: true, turns: 20 })
  expect(timeline.tasks.flatMap(({ turns }) => turns).length).toBeGreaterThan(8000)
  const { page, html } = await open(timeline)
  expect(Buffer.byteLength(html)).toBeLessThan(1_000_000)
  expect(html).not.toContain('left out to keep the page small')
  expect(await page.locator('header.page-header').textContent()).toContain(
    'Prompts and results are left out. This page holds ids, agents, models, tools, times, tokens and costs.',
  )
})

test('the pages of 500 tasks that ran long have their sizes: their oldest turns are left out, and said', async () => {
  const redacted = sampleTimeline({ tasks: 500, isRedacted: true, turns: 60 })
  const { page, html, complaints } = await open(redacted)
  expect(Buffer.byteLength(html)).toBeLessThan(1_000_000)
  const costs = [...redacted.turns, ...redacted.tasks.map(({ usage }) => usage)].map(({ cost }) => cost)
  const cost = costs.reduce((all, one) => all + one, 0)
  expect(await page.getByRole('img').getAttribute('aria-label')).toContain(`$${cost.toFixed(2)} in all`)
  await page.locator('tbody button').first().click()
  expect(await page.locator('dialog').textContent()).toMatch(
    /Missing.*its first \d+ turns with their tool calls \(left out to keep the page small\)/,
  )
  expect(complaints).toEqual([])
  const long = 'Line <of> a "text" with \\ and ünïcode.\n'.repeat(600)
  const texts = { prompt: long, result: long, changes: long, story: long.split('\n') }
  const tasks = redacted.tasks.map((task) => ({ ...task, description: long, agent: long, texts }))
  const whole = await open({ ...redacted, redacted: false, tasks })
  expect(Buffer.byteLength(whole.html)).toBeLessThan(5_000_000)
  expect(whole.complaints).toEqual([])
})

test('a page says that it holds prompts and results', async () => {
  const { page } = await open(sampleTimeline({ tasks: 2 }))
  expect(await page.locator('header.page-header').textContent()).toContain(
    'This page holds prompts and results',
  )
})

test('a session without turns and tasks has a page that says so', async () => {
  const { page, complaints } = await open(EMPTY)
  expect(await page.locator('main').textContent()).toContain('This session launched no task.')
  expect(await page.locator('main').textContent()).toContain('Nothing stands out.')
  expect(await page.locator('tbody tr').count()).toBe(0)
  expect(complaints).toEqual([])
})

test('a session with one task that took no time has a page', async () => {
  const [task] = sampleTimeline({ tasks: 1 }).tasks
  const at = EMPTY.readAt
  const instant = {
    ...(task as TaskTimeline),
    turns: [],
    marks: [],
    runs: [{ run: 1, from: at, to: at, status: 'completed' as const, phases: [] }],
  }
  const { page, complaints } = await open({ ...EMPTY, tasks: [instant] })
  expect(await page.locator('svg.rows .row.task').count()).toBe(1)
  expect(complaints).toEqual([])
})

test('all times are those of the reader, and name the day where it is not the first one', async () => {
  const sample = sampleTimeline({ tasks: 3 })
  const [first, second] = sample.tasks as [TaskTimeline, TaskTimeline]
  const [day, hour] = [24 * 3_600_000, 3_600_000]
  const at = sample.turns[0]?.from ?? 0
  const run = (from: number) => ({ run: 1, from, to: from + hour, status: 'completed' as const, phases: [] })
  const story = ['2026-11-26T09:00:00Z queued', '2026-11-27T10:00:00Z not at a line: 2026-11-27T10:00:00Z']
  const texts = { prompt: '', result: '', changes: '', story }
  const plain = { turns: [], marks: [], after: [] }
  const { page } = await open(
    {
      ...sample,
      turns: sample.turns.slice(0, 1),
      tasks: [
        { ...first, ...plain, texts, runs: [run(at)] },
        { ...second, ...plain, runs: [run(at + day)] },
      ],
    },
    { timezoneId: 'Asia/Tokyo' },
  )
  const starts = await page.locator('tbody tr td:nth-child(4)').allTextContents()
  expect(starts.toSorted()).toEqual([
    expect.stringMatching(/^18:3\d:\d\d$/),
    expect.stringMatching(/^27 Nov, 18:3\d:\d\d$/),
  ])
  await page.getByRole('button', { name: first.description }).click()
  expect(await page.getByRole('region', { name: 'Story' }).textContent()).toBe(
    '18:00:00 queued\n27 Nov, 19:00:00 not at a line: 2026-11-27T10:00:00Z',
  )
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: second.description }).click()
  expect(await page.locator('.events time').allTextContents()).toEqual([
    expect.stringMatching(/^27 Nov, 19:3/),
  ])
})

test('what was not recorded is hatched, and said', async () => {
  const { page, complaints } = await open(sampleTimeline({ tasks: 6, isUnknown: true }))
  const unknown = page.locator('svg.rows .row.task .phase.unknown').first()
  expect(await unknown.getAttribute('d')).toMatch(/^M/)
  expect(await unknown.evaluate((element) => getComputedStyle(element).fill)).toContain('#unknown')
  expect(await page.locator('main').textContent()).toContain('Of 6 tasks something is missing')
  await page.locator('tbody button').first().click()
  expect(await page.locator('dialog').textContent()).toContain('Missing')
  expect(complaints).toEqual([])
})

test('a task that has not ended says when it was read', async () => {
  const timeline = sampleTimeline({ tasks: 6 })
  const running = timeline.tasks.find(({ status }) => status === 'running')
  const { page } = await open(timeline)
  await page.getByRole('button', { name: running?.description ?? '', exact: true }).click()
  expect(await page.locator('dialog').textContent()).toMatch(/▷ running when this was read, at /)
})

test('an arrow leads from the end that released a task, also where the other task was continued since', async () => {
  const [first, second] = sampleTimeline({ tasks: 2 }).tasks as [TaskTimeline, TaskTimeline]
  const at = EMPTY.readAt - 100_000
  const run = (number: number, queuedAt: number, from: number, to: number): RunTimeline => ({
    run: number,
    from: at + queuedAt,
    to: at + to,
    status: 'completed',
    phases: [
      { type: 'queued', from: at + queuedAt, to: at + from },
      { type: 'working', from: at + from, to: at + to },
    ],
  })
  const plain = { turns: [], marks: [], status: 'completed' as const }
  const { page } = await open({
    ...EMPTY,
    tasks: [
      { ...first, ...plain, runs: [run(1, 0, 1, 10_000), run(2, 80_000, 81_000, 100_000)] },
      {
        ...second,
        ...plain,
        after: [first.id],
        runs: [run(1, 0, 10_000, 20_000), run(2, 50_000, 60_000, 70_000)],
      },
    ],
  })
  const arrow = (await page.locator('.dependencies').first().getAttribute('d')) ?? ''
  const [, fromX = '', toX = ''] = /^M([\d.]+) [\d.]+H([\d.]+)V/.exec(arrow) ?? []
  // A tenth of the time is a tenth of the plot, which is 750 pixels wide and begins at 260.
  expect([Math.round(Number(fromX) / 100), Math.round(Number(toX) / 100)]).toEqual([3, 3])
})

const HOSTILE = [
  '</script><script>globalThis.ran = 1</script>',
  '<!-- <script>globalThis.ran = 1</script>',
  '<img src="https://example.invalid/x.png" onerror="globalThis.ran = 1">',
  '<style>* { display: none }</style><svg onload="globalThis.ran = 1">',
  '"><a href="javascript:globalThis.ran = 1">&lt;b&gt;</a>',
  '\u2028\u2029\u0000\u0007\u001B[31mred\u001B[0m\u001B]8;;https://example.invalid\u0007',
  '\u202Egnp.exe\u2066\u200F',
  '\uD800 half a pair',
  '{{constructor.constructor("globalThis.ran = 1")()}} ${globalThis.ran = 1} `globalThis.ran = 1`',
].join('\n')

test('texts with markup, scripts and control characters in each field are shown, and do nothing', async () => {
  const sample = sampleTimeline({ tasks: 3 })
  const timeline: SessionTimeline = {
    ...sample,
    sessionID: HOSTILE,
    title: HOSTILE,
    directory: HOSTILE,
    findings: [HOSTILE],
    tasks: sample.tasks.map((task, index) => ({
      ...task,
      id: `${HOSTILE}${index}`,
      description: HOSTILE,
      agent: HOSTILE,
      model: HOSTILE,
      status: 'failed' as const,
      runs: task.runs.map((run) => ({ ...run, reason: HOSTILE })),
      turns: task.turns.map((turn) => ({
        ...turn,
        model: HOSTILE,
        tools: turn.tools.map((tool) => ({ ...tool, tool: HOSTILE })),
      })),
      unknown: [HOSTILE],
      after: [HOSTILE],
      texts: { prompt: HOSTILE, result: HOSTILE, changes: HOSTILE, story: [HOSTILE] },
    })),
  }
  const { page, complaints, requests } = await open(timeline)
  await page.locator('svg.rows').hover({ position: { x: 400, y: 75 } })
  await page.locator('tbody button').first().click()
  const shown = await page.locator('pre').first().textContent()
  expect(shown).toContain('</script><script>globalThis.ran = 1</script>')
  expect(shown).toContain(String.raw`\u202egnp.exe\u2066\u200f`)
  for (const control of ['\u0000', '\u0007', '\u001B', '\u202E']) expect(shown).not.toContain(control)
  expect(await page.evaluate(() => 'ran' in globalThis)).toBe(false)
  expect(await page.locator('img, body style, a, iframe, link').count()).toBe(0)
  expect(await page.locator('script').count()).toBe(2)
  expect(complaints).toEqual([])
  expect(requests).toEqual([])
})

test('the content security policy refuses what a text could bring', async () => {
  const { page } = await open(sampleTimeline({ tasks: 1 }))
  const refused = await page.evaluate(async () => {
    const refusals: string[] = []
    document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => {
      refusals.push(effectiveDirective)
    })
    const script = document.createElement('script')
    script.textContent = 'globalThis.ran = 1'
    const image = document.createElement('img')
    image.src = 'https://example.invalid/x.png'
    const style = document.createElement('style')
    style.textContent = '* { color: red }'
    document.body.append(script, image, style)
    await fetch('https://example.invalid').catch(() => undefined)
    while (refusals.length < 4) await new Promise(requestAnimationFrame)
    return refusals.toSorted()
  })
  expect(refused).toEqual(['connect-src', 'img-src', 'script-src-elem', 'style-src-elem'])
  expect(await page.evaluate(() => 'ran' in globalThis)).toBe(false)
})

test('a line of 1 MB is cut, and marked', async () => {
  const sample = sampleTimeline({ tasks: 3 })
  const long = '<'.repeat(1_000_000)
  const texts = { prompt: long, result: long, changes: long, story: [long, long] }
  const { page, complaints, html } = await open({
    ...sample,
    title: long,
    findings: [long],
    tasks: sample.tasks.map((task) => ({ ...task, description: long, agent: long, model: long, texts })),
  })
  expect(Buffer.byteLength(html)).toBeLessThan(1_000_000)
  await page.locator('tbody button').first().click()
  expect(await page.locator('pre').first().textContent()).toMatch(/<\n\[… \d+ bytes left out …]\n</)
  expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true)
  expect(complaints).toEqual([])
})
