/**
 * Determines how many words identify a command, as in `git push` or `npm run test`. A user who always allows
 * a command allows these words with any arguments, as in OpenCode's own `bash`.
 */
const words = (text: string): readonly string[] => text.trim().split(/\s+/)

const OF_TWO = new Set(
  words(`
    bazel brew bun cargo cdk cf cmake composer consul crictl deno docker eksctl firebase flyctl git go gradle helm
    heroku hugo ip kind kubectl kustomize make mc minikube mongosh mysql mvn ng npm nvm nx openssl pip pipenv pnpm
    podman poetry psql pulumi pyenv python rake rbenv redis-cli rustup serverless skaffold sls sst swift systemctl
    terraform tmux turbo ufw vault vercel volta wp yarn`),
)

const OF_THREE = new Set([
  ...words('aws az doctl gcloud gh sfdx'),
  ...Object.entries({
    bun: 'run x',
    cargo: 'add run',
    consul: 'kv',
    deno: 'task',
    docker: 'builder compose container image network volume',
    eksctl: 'create',
    git: 'config remote stash',
    ip: 'addr link netns route',
    kind: 'create',
    kubectl: 'kustomize rollout',
    mc: 'admin',
    npm: 'exec init run view',
    openssl: 'req x509',
    pnpm: 'dlx exec run',
    podman: 'container image',
    pulumi: 'stack',
    terraform: 'workspace',
    vault: 'auth kv',
    yarn: 'dlx run',
  }).flatMap(([program, groups]) => words(groups).map((group) => `${program} ${group}`)),
])

/** Returns the pattern that always allows a command with these tokens: `git push *`. */
export function lastingPattern(tokens: readonly string[]): string {
  return [...tokens.slice(0, arity(tokens)), '*'].join(' ')
}

function arity([program = '', group = '']: readonly string[]): number {
  if (OF_THREE.has(program) || OF_THREE.has(`${program} ${group}`)) return 3
  return OF_TWO.has(program) ? 2 : 1
}
