import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { exists } from '../../lib/system/files.ts'
import { countFaults } from '../helpers/fault-table.ts'
import { nodeNamed, type TasksBesideCluster, tasksBesideCluster } from '../helpers/foreign-cluster.ts'

/** Every task that would change a cluster of ours, with what makes it go on without a prompt, and those that look at it. */
const commands = [
  ['doctor'],
  ['status'],
  ['setup-cluster'],
  ['setup-cluster', '--yes'],
  ['setup-cluster', '--yes', '--recreate'],
  ['setup-cluster', '--yes', '--adopt'],
  ['setup-cluster', '--yes', '--merge-kubeconfig'],
  ['start-cluster', '--yes'],
  ['stop-cluster', '--yes'],
  ['delete-cluster', '--yes'],
  ['deploy-ingress', '--yes'],
  ['deploy-apps', '--yes'],
  ['teardown', '--yes'],
]

const other = JSON.stringify({ installation: '0123456789ab', folder: '/home/other/.macula' })
const situations = {
  'of somebody who uses kind by hand': {},
  'of somebody who uses kind by hand, stopped': { node: nodeNamed('macula', { running: false }) },
  'of another checkout': { mark: other },
  'that is an hour old': { node: nodeNamed('macula', { createdAt: Date.now() - 3_600_000 }) },
}

describe('a KinD cluster of our name that is not ours', () => {
  for (const [whose, options] of Object.entries(situations))
    it(`${whose}: no task changes it, or writes a kubeconfig for it`, async () => {
      const tasks: TasksBesideCluster = await tasksBesideCluster('macula', options)
      try {
        for (const [name = '', ...args] of commands) {
          const { status, stdout, stderr } = tasks.task(name, ...args)
          const changes = await tasks.changes()
          const hasKubeconfig = await exists(join(tasks.stateDir, 'kubeconfig'))
          countFaults('foreign clusters touched', 1, changes.length > 0 || hasKubeconfig ? 1 : 0)
          assert.deepEqual(changes, [], `${name} ${args.join(' ')}`)
          assert.equal(hasKubeconfig, false)
          assert.doesNotMatch(stderr, /^\s+at /m)
          if (name === 'status') continue
          if (name === 'doctor') {
            assert.match(stdout, /KinD cluster.*The KinD cluster macula was not created by this installation/)
            continue
          }
          if (name === 'teardown') {
            assert.equal(status, 0, stderr)
            continue
          }
          assert.equal(status, 1, `${name}: ${stdout}${stderr}`)
          assert.match(stderr, /✗ The KinD cluster macula was not created by this installation; it stays as it is\n/)
          assert.match(stderr, /created (3 days|1 h) ago, /)
          assert.match(stderr, /→ CLUSTER_NAME=another-name in \.env .*\n\s+kind delete cluster --name macula /)
          if ('mark' in options) assert.match(stderr, /ago, from \/home\/other\/\.macula\n/)
        }
      } finally {
        await tasks.remove()
      }
    })
})
