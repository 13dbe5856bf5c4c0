import { describe, expect, test } from 'vitest'
import { questionIn } from '../../../src/text/question.ts'

const ASKED = '<question>Which one?</question>'

describe('an answer ends with a question', () => {
  test.each([
    [ASKED, ''],
    [`Done.\n\n${ASKED}`, 'Done.'],
    [`Done. ${ASKED}\n \n\t`, 'Done.'],
    [`Done.\n\n**${ASKED}**`, 'Done.'],
    [`Done: **${ASKED}**`, 'Done:'],
    [`Done.\n> ${ASKED}`, 'Done.'],
    [`- one\n- ${ASKED}`, '- one'],
    [`Done.\n${ASKED}\n\n---`, 'Done.'],
    ['I used C# and __init__.\n<question>\nWhich one?\n</question>', 'I used C# and __init__.'],
    ['<Question>Which one?</QUESTION>', ''],
    [`<question>First?</question> It is settled.\n${ASKED}`, '<question>First?</question> It is settled.'],
    [`A stray </question> before.\n${ASKED}`, 'A stray </question> before.'],
    [`\`<question>\` is a tag.\n${ASKED}`, '`<question>` is a tag.'],
    ['```html\n<question>\n```\n' + ASKED, '```html\n<question>\n```'],
    ['~~~\n```\n<question>\n~~~\n' + ASKED, '~~~\n```\n<question>\n~~~'],
    ['A lone ` and nothing more.\n\n' + ASKED, 'A lone ` and nothing more.'],
    ['```inline``` code.\n' + ASKED, '```inline``` code.'],
  ])('%j', (answer, rest) => {
    expect(questionIn(answer)).toEqual({ question: 'Which one?', rest })
  })

  test('with code in it', () => {
    const question = 'Do you want this?\n```ts\nconst a = "</question>"\n```\nOr `<question>`?'
    expect(questionIn(`Done.\n<question>${question}</question>`)).toEqual({ question, rest: 'Done.' })
  })
})

describe('an answer ends with no question', () => {
  test.each([
    ['', 'no text'],
    ['Which one?', 'no element'],
    [`${ASKED} I go on.`, 'text after it'],
    [`${ASKED}\n\n- and more`, 'text after it in a list'],
    ['<question></question>', 'no content'],
    ['<question> \n </question>', 'blank content'],
    ['<question>…</question>', 'content without a word, as in our own text'],
    ['<question>Which one?', 'no end'],
    ['Which one?</question>', 'no beginning'],
    ['<question>a<question>b</question></question>', 'one in another'],
    ['<question>a <question>b</question>', 'an open one before it'],
    [`\`${ASKED}\``, 'inline code'],
    [`\`\`a \` ${ASKED}\`\``, 'inline code of two backticks'],
    [`\`\`\`\n${ASKED}\n\`\`\``, 'a fence'],
    [`~~~~ text\n~~~\n${ASKED}\n~~~~`, 'a fence of four tildes'],
    [`\`\`\`\n${ASKED}`, 'a fence that nothing closes'],
    ['`<question>`Which one?</question>', 'a beginning in code'],
    ['<questions>Which one?</questions>', 'another element'],
  ])('%j: %s', (answer) => {
    expect(questionIn(answer)).toBeUndefined()
  })
})

test.each([
  ['fences', '```\n'],
  ['backticks', '` `` '],
  ['growing runs of backticks', Array.from({ length: 300 }, (_, n) => `${'`'.repeat(n + 1)} `).join('')],
  ['blanks', ' \n\t'],
  ['tags', '<question>'],
  ['marks', '*_ '],
])('an answer of a megabyte of %s is read in a moment', (_, piece) => {
  const text = piece.repeat(Math.ceil(1_000_000 / piece.length)) + ASKED
  const begun = process.cpuUsage()
  questionIn(text)
  expect(process.cpuUsage(begun).user).toBeLessThan(1_000_000)
})
