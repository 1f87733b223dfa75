#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { clusterOf, notOurs } from '../lib/cluster/cluster.ts'
import { removeCluster } from '../lib/cluster/lifecycle.ts'
import { removeFromUsers } from '../lib/cluster/merge-kubeconfig.ts'
import { nodesOf } from '../lib/cluster/nodes.ts'
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
    const foreign = notOurs(platform)
    if (foreign !== undefined) return out.summary(foreign)
    const { name } = clusterOf(platform)
    if ((await nodesOf(name)).length > 0 && !yes) {
      if (!out.interactive) {
        const problem = { where: 'delete-cluster', what: 'there is no terminal to ask on' }
        throw badInput(`Deleting ${name} needs a yes`, [problem], 'task delete-cluster -- --yes')
      }
      if (!(await out.confirm(`Delete the cluster ${name} with all that runs in it?`))) return
    }
    await out.step(`Delete ${name}`, () => removeCluster(platform))
    await out.step('Take the context out of your kubeconfig', () => removeFromUsers(platform.paths))
    out.summary('Make it anew: task setup-cluster')
  },
})
