/** Generates lines of bash with commands hidden in every construct. */
import fc from 'fast-check'

/** Renders a list of commands; each call of `next` returns a number that is new to the line. */
type Render = (next: () => number) => string

const inBackticks = (code: string): string => `\`${code.replaceAll(/[\\`$]/g, String.raw`\$&`)}\``

/** Constructs that hold commands: `a` and `b` are lists, which may end in a here-document or a comment. */
export const CONSTRUCTS: Readonly<Record<string, (a: string, b: string, id: number) => string>> = {
  list: (a, b) => `${a}\n${b}`,
  subshell: (a, b) => `(\n${a}\n) && (${b}\n)`,
  group: (a, b) => `{\n${a}\n} || {\n${b}\n}`,
  'nested subshells': (a, b) => `((${a}\n); ${b}\n)`,
  pipe: (a, b) => `{ ${a}\n} | (${b}\n) |& w 2>&1`,
  background: (a, b) => `(${a}\n) & (${b}\n) &`,
  negation: (a, b) => `! {\n${a}\n}; ${b}`,
  if: (a, b) => `if ${a}\nthen ${b}\nelif w; then w; else w; fi > out`,
  else: (a, b) => `if w; then w; elif ${a}\nthen w\nelse ${b}\nfi`,
  while: (a, b) => `while ${a}\ndo ${b}\nbreak; done < /dev/null`,
  until: (a, b) => `until ${a}\ndo ${b}\nbreak\ndone`,
  for: (a, b) => `for x in $(${a}\n) y; do ${b}\ndone`,
  'for of numbers': (a, b) => `for ((i = $(${a}\n); i < 1; i++)); do ${b}\nbreak; done`,
  select: (a, b) => `select x in y "$(${a}\n)"; do ${b}\nbreak; done < /dev/null`,
  case: (a, b) => `case y in (x|y) ${a}\n;;& $(${b}\n)) w ;& *) w; esac`,
  function: (a, b, id) => `f${id}() {\n${a}\n}; function g${id} ( ${b}\n)\nf${id}; g${id}`,
  'test of words': (a, b) => `[[ -n $(${a}\n) && ! ( x == "$(${b}\n)" ) ]]`,
  'test of a pattern': (a, b) => `[[ x =~ ^y$(${a}\n)$ ]] || [[ x != *.@(a|$(${b}\n)) ]]`,
  test: (a, b) => `[ -n "$(${a}\n)" ]; test "$(${b}\n)"`,
  arithmetic: (a, b) => `((i = 1 + $(${a}\n) << 2)); echo $((a[$(${b}\n)] ? 1 : 2))`,
  coproc: (a, b, id) => `coproc N${id} {\n${a}\n}; wait; coproc (${b}\n); wait`,
  time: (a, b) => `time {\n${a}\n}; time -p (${b}\n)`,
  'double quotes': (a, b) => `echo "a $(${a}\n) '$(${b}\n)'" $"x"`,
  backticks: (a, b) => `echo ${inBackticks(a)} x; ${b}`,
  'process substitution': (a, b) => `w <(${a}\n) > >(${b}\n)`,
  default: (a, b) => `echo \${u:-$(${a}\n)} "\${u:=$(${b}\n)}"`,
  'other expansions': (a, b) => `v=xy; echo \${v/$(${a}\n)/z} \${v#$(${b}\n)} \${v:0} \${v^^} \${#v}`,
  index: (a, b) => `v[1]=x; echo \${v[$(${a}\n)]} \${v[@]:$(${b}\n)}`,
  assignment: (a, b) => `v=$(${a}\n) w="$(${b}\n)"`,
  array: (a, b) => `v=(x $(${a}\n) [3]=y) v[$(${b}\n)]+=z`,
  declaration: (a, b) => `export A="$(${a}\n)"; declare -a b=($(${b}\n))`,
  redirections: (a, b) => `2> err > out$(${a}\n) w <<< "$(${b}\n)" {fd}>> x &>> y`,
  'redirection alone': (a, b) => `> out; v=1 >| out; ${a}\n${b}`,
  'here-document': (a, b, id) => `cat <<E${id}\nit's $(${a}\n) \${u:-$(${b}\n)}\nE${id}`,
  'here-document with more': (a, b, id) => `cat <<-'E${id}' 2>&1 | w -1; w\n\t$(w\n\tE${id}\n${a}\n${b}`,
  'two here-documents': (a, b, id) => `cat <<A${id} <<"B${id}"; w\n$(${a}\n)\nA${id}\n$(\nB${id}\n${b}`,
  'here-document in backticks': (a, b, id) => `cat <<E${id}; w\n${inBackticks(a)}\nE${id}\n${b}`,
  comment: (a, b) => `w a#b # it's "$(\n${a} # )\n${b}`,
  'odd quotes': (a, b) => `echo 'it'\\''s' $'a\\'b' "\\"" \\; a\\\nb; ${a}\n${b}`,
  braces: (a, b) => `echo {a,b}{1..3} x{,$(${a}\n)} [a-z]* ~; ${b}`,
}

const construct = fc.constantFrom(...Object.keys(CONSTRUCTS))
const DECORATIONS = ['', ' -rf x', " 'a;b'", ' "$u" $u', ' > out', ' 2>&1 >> out', ' < /dev/null', ' \\\n -y']

const { list } = fc.letrec<{ list: Render }>((tie) => ({
  list: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom(...DECORATIONS).map(
      (rest): Render =>
        (next) =>
          `hidden${next()}${rest}`,
    ),
    fc.tuple(construct, tie('list'), tie('list')).map(([name, a, b]): Render => {
      return (next) => CONSTRUCTS[name]?.(a(next), b(next), next()) ?? ''
    }),
  ),
}))

export interface Line {
  readonly line: string
  /** The names of the hidden commands. */
  readonly hidden: readonly string[]
}

export const bashLines: fc.Arbitrary<Line> = list.map((render) => {
  let last = 0
  const line = render(() => ++last)
  return { line, hidden: [...line.matchAll(/hidden\d+/g)].map(([name]) => name) }
})

const PIECES =
  `' " \` $ $( \${ $(( )) ( ) { } ; & | && || < > << <<E <<- <<< \\ # ! = [ ] [[ ]] =~ if then fi do done case esac in
  hidden900 hidden901 time coproc function f() @( ~ * ? , : 2`.split(/\s+/)

/** Lines of bash with pieces removed or inserted. */
export const damagedLines: fc.Arbitrary<string> = fc
  .tuple(
    bashLines,
    fc.array(fc.tuple(fc.nat(), fc.constantFrom(...PIECES, ' ', '\n', ' \t'), fc.boolean()), {
      maxLength: 3,
    }),
  )
  .map(([{ line }, damages]) =>
    damages.reduce((text, [place, piece, isInsertion]) => {
      const at = place % (text.length + 1)
      return text.slice(0, at) + piece + text.slice(isInsertion ? at : at + piece.length)
    }, line),
  )
