#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { clusterOf, notInCharge } from '../lib/cluster/cluster.ts'
import { removeCluster } from '../lib/cluster/lifecycle.ts'
import { removeFromUsers } from '../lib/cluster/merge-kubeconfig.ts'
import { ownNodes } from '../lib/cluster/ownership.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { badInput } from '../lib/system/errors.ts'

export default defineTask({
  name: 'delete-cluster',
  summary: 'Delete the KinD cluster and everything in it',
  leaves: ['images in the registry, and the Docker network kind'],
  undo: 'task setup-cluster && task deploy-ingress && task deploy-apps',
  options: {},
  async run({ yes, out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const reason = notInCharge(platform)
    if (reason !== undefined) return out.summary(reason)
    const { name } = clusterOf(platform)
    const nodes = await ownNodes(platform)
    if (nodes.length > 0 && !yes) {
      if (!out.interactive) {
        const problem = { where: 'delete-cluster', what: 'there is no terminal for the prompt' }
        throw badInput(`Deleting ${name} needs a confirmation`, [problem], 'task delete-cluster -- --yes')
      }
      if (!(await out.confirm(`Delete the cluster ${name} with all that runs in it?`))) return
    }
    await out.step(`Delete ${name}`, () => removeCluster(platform, nodes))
    await out.step('Remove the context from your kubeconfig', () => removeFromUsers(platform.paths))
    out.summary('Create it again: task setup-cluster')
  },
})
