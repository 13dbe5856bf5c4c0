/**
 * Compares the permissions of a command line by OpenCode's own tool `bash` and by both of our parsers. The tool receives
 * each line in its own session. The test grants folders and rejects commands, so that no command ever runs.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { bundle } from '../../scripts/build.ts'
import type { Claims } from '../../src/work/command/required-permissions/required-permissions.ts'
import { subscribe, type EventStream } from '../harness/event-stream.ts'
import { startModel, type ScriptedModel } from '../harness/model.ts'
import { probePlugin } from '../harness/plugin.ts'
import { startOpencode, type OpencodeServer, type Project } from '../harness/server.ts'

const LINES = [
  // One command
  'ls',
  '  ls -la  ',
  '"ls" -l',
  'l\\s',
  'A=1 B="b c" ls',
  '! grep a b',
  'ls # a comment; pwd',
  'ls -a \\\n  -l',
  'echo "日本 🙂" é; ls',
  // Lists
  'echo a; touch b',
  'echo a && touch b || ls',
  'sleep 1 & touch b &',
  'ls\n\ntouch b\n',
  'ls; ls; ls -l',
  // Pipes
  'ls | sort | uniq -c',
  'ls |& cat',
  'ls | xargs touch',
  // Groups and functions
  '(ls; touch b)',
  '{ ls; touch b; }',
  'f() { touch b; }; f',
  'function g { ls; }; g',
  // Substitutions
  'echo "$(touch b)" `ls`',
  'echo $(echo $(echo $(ls)))',
  'echo ${a:-$(ls)} $((1 + $(ls)))',
  '$(echo ls) -l',
  'a=$(ls)',
  'export A=$(ls)',
  '[[ -n $(ls) ]]',
  '[ -n "$(ls)" ]',
  'diff <(ls) >(cat)',
  // Redirections
  'ls > out 2>&1 < in',
  'ls > out; pwd',
  '2>err ls > out',
  'ls | cat > out',
  '(ls; pwd) > out',
  'ls &> out',
  'cat <<< hi',
  'cat <<EOF\n$(ls) $a\nEOF\npwd',
  "cat <<'EOF' > out\n$(ls)\nEOF",
  'cat <<-EOF | sort\n\thi\n\tEOF',
  '> out',
  // Lines that only resemble several commands
  "echo 'a; touch b'",
  'echo a\\;touch b',
  'echo "a && touch b"',
  // Control flow
  'if ls; then pwd; elif date; then id; else touch b; fi',
  'for f in a b; do touch "$f"; done',
  'for ((i = 0; i < 2; i++)); do touch $i; done',
  'while read l; do echo $l; done < list',
  'until ls; do touch b; done',
  'case $x in a) ls ;; *) touch b ;; esac',
  // Nothing that needs `bash`
  'a=1',
  'cd .',
  '# a comment',
  // Paths
  'cd ../beside && ls',
  'pushd ../beside; popd',
  'rm ../beside/file',
  'rm -rf ../beside ../beside/file ../nowhere/deep',
  'cp ../beside/file ../file',
  'mv ~/a "~/b" ~',
  'mkdir -p "../beside/a b" \'../nowhere/a\'',
  'cat ../beside/*.txt ../besid? ../besid*/a [ab]/../../a *',
  'cat ../beside/$x ../beside/`ls` "(a)/../../a" "@(a)/../../a"',
  'cat $HOME/a "${HOME}/a" $(pwd)/../a `pwd`/../a',
  'cat ../beside/{a,b} 5 - ../b"esid"e/a',
  'cat $\'../a\' "../a"',
  'chmod +x/../../a ../beside/file',
  'touch +x/../../a -x/../../beside/file',
  'chown a:b ../beside/file -R',
  'touch --time=../a a ./b ..c part/../d',
  'ls ../beside > ../out',
  'echo $(rm ../beside/file)',
  '(cd .. && cat beside/file)',
  'cat / /etc',
]

/** Commands of one line whose `always` patterns are compared, because they depend on the program. */
const PROGRAMS = `
  git push origin x, git -C a push x, git remote add x, git config a b, git stash pop x, npm ci x, npm run a b,
  npm view a b, npm exec a b, npm init a b, npx a b, pnpm add a, pnpm run a b, pnpm dlx a b, pnpm exec a b, yarn add a,
  yarn run a b, yarn dlx a b, bun test a, bun run a b, bun x a b, deno run a, deno task a b, node a b, tsc a b,
  docker run a, docker compose up a, docker container ls a, docker image ls a, docker network ls a, docker volume ls a,
  docker builder prune a, podman run a, podman container ls a, podman image ls a, cargo build a, cargo run a b,
  cargo add a b, rustup update a, go test a, make all b, cmake a b, bazel build a, gradle build a, mvn test a,
  pip install a, pipenv install a, poetry add a, python a b, python3 a b, pytest a, uv run a, pyenv local a, rake a b,
  rbenv local a, composer install a, kubectl get a b, kubectl rollout status a, kubectl kustomize a b, kustomize build a,
  helm install a, kind create cluster a, kind get a b, minikube start a, skaffold dev a, terraform plan a,
  terraform workspace new a, pulumi up a, pulumi stack ls a, vault read a, vault kv get a, vault auth list a,
  consul kv get a, consul agent a, aws s3 ls a, az vm list a, gcloud compute list a, gh pr list a, doctl a b c,
  sfdx a b c, eksctl create cluster a, eksctl get a b, heroku logs a, flyctl deploy a, firebase deploy a, vercel deploy a,
  serverless deploy a, sls deploy a, sst dev a, cdk deploy a, cf push a, systemctl status a, ip addr show a, ip link show a,
  ip route show a, ip netns list a, ip a b, ufw allow a, tmux new a, openssl req a b, openssl x509 a b, openssl rand a,
  psql a b, mysql a b, mongosh a b, redis-cli get a, mc ls a, mc admin info a, crictl ps a, brew install a, nvm use a,
  volta install a, nx build a, ng build a, turbo run a, hugo serve a, swift build a, wp plugin list a, rm a b, ls a b,
  sudo rm a, env a b, bash a b, curl a b, sed a b, jq a b, git, npm run, "git" push a`

/** Calls outside of the project's root: `part` is a folder of it, `plain` has no version control. */
const ELSEWHERE = [
  ['part', { command: 'cat ../README.md a; cat ../../beside/file' }],
  ['part', { command: 'ls', workdir: '..' }],
  ['part', { command: 'cd ..; cat ../beside/file', workdir: '../../beside' }],
  ['root', { command: 'cat README.md ../README.md; cat file', workdir: '../beside' }],
  ['root', { command: 'cat "" [ab] ../file', workdir: '../beside' }],
  ['root', { command: 'a=1', workdir: '/' }],
  ['plain', { command: 'cat a ../beside/file' }],
  ['plain', { command: 'ls', workdir: '..' }],
] as const

/** Lines that bash and we refuse, with the permissions that OpenCode requests for the part it understands. */
const UNPARSABLE: readonly (readonly [line: string, ...patterns: readonly string[]])[] = [
  ['ls "a', 'ls'],
  ['ls )', 'ls'],
  ['(ls', 'ls'],
  ['ls &&', 'ls', ''],
  ['ls; if pwd; then id', 'ls', 'pwd'],
  ['cat <<EOF\nls', 'cat'],
  ['ls @(a|b)', 'ls @(a|b)', 'a', 'b'],
]

/** Lines of bash in which OpenCode misses commands, with its permission patterns and ours. */
const BASH: readonly (readonly [
  line: string,
  asked: { host: readonly string[]; here: readonly string[] },
])[] = [
  ['((touch a); ls)', { host: [], here: ['touch a', 'ls'] }],
  [
    "cat <<'E' 2>&1 | ls\nhi\nE",
    { host: ["cat <<'E' 2>&1 | ls\nhi\nE"], here: ["cat <<'E' 2>&1 | ls\nhi\nE", 'ls'] },
  ],
  ['time ls -l', { host: ['time ls -l'], here: ['time ls -l', 'ls -l'] }],
  ['coproc ls', { host: ['coproc ls'], here: ['coproc ls', 'ls'] }],
  ['echo ${a#$(ls)}', { host: ['echo ${a#$(ls)}'], here: ['echo ${a#$(ls)}', 'ls'] }],
  ['cat <<E\n`ls`\nE', { host: ['cat <<E\n`ls`\nE'], here: ['cat <<E\n`ls`\nE', 'ls'] }],
]

interface Call {
  readonly command: string
  readonly workdir?: string
}

/** One permission request of a call. */
interface Ask {
  readonly permission: string
  readonly patterns: readonly string[]
  readonly always: readonly string[]
}

/** A folder with sessions. */
interface Place {
  readonly project: Project
  readonly events: EventStream
}

const FOLDERS = { root: 'project', part: 'project/part', plain: 'plain' }

const probe = probePlugin()
const ours = mkdtempSync(join(tmpdir(), 'opencode-claims-'))
let model: ScriptedModel
let server: OpencodeServer
let places: Record<keyof typeof FOLDERS, Place>

beforeAll(async () => {
  await bundle(ours, {
    'required-permissions': 'work/command/required-permissions/required-permissions.ts',
    'bash-parser': 'work/command/required-permissions/second-parser.ts',
  })
  model = await startModel(({ messages }) => {
    const last = messages.at(-1)
    if (last?.role !== 'user') return { text: 'done' }
    return {
      tools: [{ name: 'bash', args: { description: 'A line', ...(JSON.parse(last.content) as Call) } }],
    }
  })
  const permission = { bash: 'ask', external_directory: 'ask' }
  server = await startOpencode({ model, plugins: [probe.spec], config: { permission, snapshot: false } })
  for (const folder of ['project/part', 'plain', 'beside']) mkdirSync(join(server.home, folder))
  for (const file of ['file', 'a.txt']) writeFileSync(join(server.home, 'beside', file), '')
  const [root, part, plain] = await Promise.all([place('root'), place('part'), place('plain')])
  places = { root, part, plain }
})
afterAll(async () => {
  for (const { events } of Object.values(places)) events.close()
  await server.stop()
  await model.close()
})

async function place(name: keyof typeof FOLDERS): Promise<Place> {
  const project = server.project(join(server.home, FOLDERS[name]))
  return { project, events: await subscribe(server.url, project.directory) }
}

test.concurrent.each(LINES)('both parsers request the permissions of OpenCode for %j', async (command) => {
  await expectSameAsks(places.root, { command })
})

test.concurrent.each(ELSEWHERE)(
  'both parsers request the permissions of OpenCode in %s for %j',
  async (name, call) => {
    await expectSameAsks(places[name], call)
  },
)

test.concurrent('both parsers request the always patterns of OpenCode for each known program', async () => {
  const commands = PROGRAMS.trim().split(/,\s+/)
  await expectSameAsks(places.root, { command: commands.join('; ') })
})

test.concurrent.each(UNPARSABLE)(
  'the plugin refuses %j, which OpenCode accepts',
  async (command, ...patterns) => {
    const asked = asksOf('any', places.root, { command })
    await expect(asked).rejects.toThrow('cannot be parsed as a shell command: ')
    expect(patternsOf(await asksOfHost(places.root, { command }))).toEqual(patterns)
  },
)

test.concurrent.each(BASH)(
  'the plugin requests all commands of %j, of which OpenCode misses some',
  async (command, asked) => {
    expect(patternsOf(await asksOf('any', places.root, { command }))).toEqual(asked.here)
    expect(patternsOf(await asksOfHost(places.root, { command }))).toEqual(asked.host)
  },
)

function patternsOf(asks: readonly Ask[]): readonly string[] {
  return asks.flatMap(({ patterns }) => patterns)
}

async function expectSameAsks(at: Place, call: Call): Promise<void> {
  const asks = await asksOfHost(at, call)
  expect(await asksOf('first', at, call)).toEqual(asks)
  expect(await asksOf('second', at, call)).toEqual(asks)
}

/** Resolves with the permission requests of OpenCode's own `bash` for a call in a folder. */
async function asksOfHost({ project, events }: Place, call: Call): Promise<readonly Ask[]> {
  const { id } = await project.createSession({ title: call.command })
  await project.prompt(id, JSON.stringify(call))
  const asks: Ask[] = []
  const answered = new Set<string>()
  for (;;) {
    const event = await events.waitFor(
      ({ type, properties }) =>
        (type === 'session.idle' && properties.sessionID === id) ||
        (type === 'permission.asked' && properties.sessionID === id && !answered.has(properties.id)),
      { description: `the end of ${call.command}` },
    )
    if (event.type !== 'permission.asked') return asks
    const { id: permissionID, permission, patterns, always } = event.properties
    answered.add(permissionID)
    asks.push({ permission, patterns, always })
    const response = permission === 'external_directory' ? 'once' : 'reject'
    await project.client.postSessionIdPermissionsPermissionId({
      path: { id, permissionID },
      body: { response },
    })
  }
}

/** Our permissions by the first parser alone, by the second alone, and as the plugin combines them. */
const CLAIMS = {
  // In an unknown shell the second parser cannot accept a line.
  first: "claimsOf(line, where, { shell: '/nonexistent', env: {} })",
  second: 'claimsFor(bashCommandsOf(line), where)',
  any: "claimsOf(line, where, { shell: '/bin/bash', env: process.env })",
}

/** Resolves with the permission requests of our plugin, in OpenCode's order. */
async function asksOf(
  parser: keyof typeof CLAIMS,
  { project }: Place,
  { command, workdir = '.' }: Call,
): Promise<readonly Ask[]> {
  const cwd = resolve(project.directory, workdir)
  const claims = (await probe.run(
    `const { claimsOf, claimsFor } = await import(${JSON.stringify(join(ours, 'required-permissions.js'))})
     const { bashCommandsOf } = await import(${JSON.stringify(join(ours, 'bash-parser.js'))})
     const line = ${JSON.stringify(command)}
     const where = { ...input, cwd: ${JSON.stringify(cwd)} }
     return ${CLAIMS[parser]}`,
    { directory: project.directory },
  )) as Claims
  const { directories, patterns, always } = claims
  return [
    { permission: 'external_directory', patterns: directories, always: directories },
    { permission: 'bash', patterns, always },
  ].filter((ask) => ask.patterns.length > 0)
}
