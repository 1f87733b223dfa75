// `npm run bench`: ratios measured in one run, on one machine, in a sandbox of their own. Needs Linux and root, like the sandbox.
// `npm run bench -- --no-cluster` leaves out what needs a cluster.
import { spawnSync } from 'node:child_process'
import { ensurePackages, requireNode, root, typescriptArguments } from '../../lib/cli/bootstrap.mjs'

requireNode()
ensurePackages()
const withCluster = !process.argv.includes('--no-cluster')
const node = ['node', ...typescriptArguments].join(' ')
// the cluster first: measuring the platform takes it down and up again
const measure = [...(withCluster ? [`${node} test/bench/cluster.ts`] : []), `${node} test/bench/platform.ts`].join(
  ' && ',
)
const words = ['sandbox', '--name', 'bench', ...(withCluster ? [] : ['--no-cluster']), '--exec', measure]
const { status } = spawnSync(process.execPath, ['lib/cli/launch.mjs', ...words], { cwd: root, stdio: 'inherit' })
process.exit(status ?? 1)
