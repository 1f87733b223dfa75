#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { waitForStartedIngress } from '../lib/cluster/ingress.ts'
import { startCluster } from '../lib/cluster/lifecycle.ts'
import { ensurePodNames, nodeAddress } from '../lib/cluster/names.ts'
import { ensureOnNetwork, nodesOrReason } from '../lib/cluster/nodes.ts'
import { networkName } from '../lib/platform/addresses.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'

export default defineTask({
  name: 'start-cluster',
  summary: 'Start the stopped KinD cluster and everything in it',
  leaves: ['the nodes running'],
  undo: 'task stop-cluster',
  options: {},
  async run({ out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const { nodes, reason } = await nodesOrReason(platform)
    if (reason !== undefined) return out.summary(reason)
    // before they start: a network that was made anew since would keep a node from starting
    await out.step('Connect the nodes to the services', () =>
      ensureOnNetwork(
        nodes,
        networkName(platform.settings),
        index => nodeAddress(platform, index),
        platform.applications.names,
      ),
    )
    await out.step('Start the nodes', () => startCluster(platform))
    await out.step('Teach pods the names of the platform', () => ensurePodNames(platform))
    await out.step('Wait until the applications answer', () => waitForStartedIngress(platform))
    out.summary(`The cluster answers again: http://${platform.applications.names[0]}`)
  },
})
