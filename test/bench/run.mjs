// `npm run bench`: ratios measured in one run, on one machine, in a sandbox of their own. Needs Linux and root, like the sandbox.
import { spawnSync } from 'node:child_process'
import { ensurePackages, requireNode, root, typescriptArguments } from '../../lib/bootstrap.mjs'

requireNode()
ensurePackages()
const measure = ['node', ...typescriptArguments, 'test/bench/measure.ts'].join(' ')
const { status } = spawnSync(
  process.execPath,
  ['lib/launch.mjs', 'sandbox', '--no-cluster', '--name', 'bench', '--exec', measure],
  { cwd: root, stdio: 'inherit' },
)
process.exit(status ?? 1)
