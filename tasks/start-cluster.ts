import { networkName } from '../lib/addresses.ts'
import { requireKind } from '../lib/cluster/cluster.ts'
import { existingNodes, startCluster } from '../lib/cluster/lifecycle.ts'
import { ensurePodNames, nodeAddress } from '../lib/cluster/names.ts'
import { ensureOnNetwork } from '../lib/cluster/nodes.ts'
import { placesOf } from '../lib/env.ts'
import { loadPlatform } from '../lib/platform.ts'
import { defineTask } from '../lib/task.ts'

export default defineTask({
  name: 'start-cluster',
  summary: 'Start the stopped KinD cluster again, with everything that ran in it',
  leaves: ['the nodes running'],
  undo: 'task stop-cluster',
  options: {},
  async run({ out, environment }) {
    const platform = await loadPlatform(placesOf(environment), environment)
    requireKind(platform, 'Starting a cluster')
    const nodes = await existingNodes(platform)
    // before they start: a network that was made anew since would keep a node from starting
    await out.step('Connect the nodes to the services', () =>
      ensureOnNetwork(nodes, networkName, index => nodeAddress(platform, index)),
    )
    await out.step('Start the nodes', () => startCluster(platform))
    await out.step('Teach pods the names of the platform', () => ensurePodNames(platform))
    out.summary(
      `The cluster answers again; its applications follow within seconds: http://${platform.applications.names[0]}`,
    )
  },
})
