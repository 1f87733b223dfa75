// `npm run bench` measures everything, `npm run bench -- NAME…` just those, ours and the bare commands in turn, and writes docs/performance.md.
// `--rounds N` for a quick look. Needs Linux, and root for all but help and growth: private network namespaces, or a sandbox of its own.
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { ensurePackages, requireNode, root, typescriptArguments } from '../../lib/cli/bootstrap.mjs'

/** What can be measured; `sandbox` says what has to be up there, where no package can be fetched: `programs` are before. The cluster comes before the platform, which is taken down and up again. */
const benches = {
  help: {},
  growth: {},
  routes: {},
  dns: {},
  workflow: { sandbox: 'cluster' },
  cluster: { sandbox: 'cluster' },
  images: { sandbox: 'cluster' },
  gateway: { sandbox: 'platform', programs: true },
  platform: { sandbox: 'platform' },
}

requireNode()
ensurePackages()
const { values, positionals } = parseArgs({ allowPositionals: true, options: { rounds: { type: 'string' } } })
const unknown = positionals.filter(name => !Object.hasOwn(benches, name))
if (unknown.length > 0 || !/^[1-9]\d*$/.test(values.rounds ?? '5')) {
  process.stderr.write(`✗ Usage: npm run bench -- [--rounds N] [${Object.keys(benches).join('|')}…]\n`)
  process.exit(2)
}
const names = Object.keys(benches).filter(name => positionals.length === 0 || positionals.includes(name))
const env = { ...process.env, BENCH_ROUNDS: values.rounds ?? '5' }
const run = args => spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', env }).status ?? 1
const fileOf = name => `test/bench/${name}.ts`

let failed = 0
for (const name of names.filter(name => benches[name].sandbox === undefined))
  failed ||= run([...typescriptArguments, fileOf(name)])
const inSandbox = names.filter(name => benches[name].sandbox !== undefined)
if (inSandbox.length > 0) {
  if (inSandbox.some(name => benches[name].programs)) failed ||= run([...typescriptArguments, fileOf('programs')])
  const node = ['node', ...typescriptArguments].join(' ')
  const measure = inSandbox.map(name => `${node} ${fileOf(name)}`).join(' && ')
  const bare = inSandbox.some(name => benches[name].sandbox === 'cluster') ? [] : ['--no-cluster']
  failed ||= run(['lib/cli/launch.mjs', 'sandbox', '--name', 'bench', ...bare, '--exec', measure])
}
process.exit(failed)
