#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { notInCharge } from '../lib/cluster/cluster.ts'
import { ensureIngressAddresses, waitForStartedIngress } from '../lib/cluster/ingress.ts'
import { ensureKubeconfig, waitForCluster } from '../lib/cluster/lifecycle.ts'
import { ensurePodNames, nodeAddress } from '../lib/cluster/names.ts'
import { ensureOnNetwork, requireNetwork } from '../lib/cluster/nodes.ts'
import { ownNodes } from '../lib/cluster/ownership.ts'
import { networkName } from '../lib/platform/addresses.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { $ } from '../lib/system/exec.ts'

export default defineTask({
  name: 'start-cluster',
  summary: 'Start the stopped KinD cluster and everything in it',
  leaves: ['the nodes running'],
  undo: 'task stop-cluster',
  options: {},
  async run({ out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const reason = notInCharge(platform)
    if (reason !== undefined) return out.summary(reason)
    const nodes = await ownNodes(platform)
    if (nodes.length === 0) return out.summary('There is no cluster. Create one: task setup-cluster')
    // before they start: a network that was recreated since would keep a node from starting
    const network = networkName(platform.settings)
    await out.step('Connect the nodes to the services', async () =>
      ensureOnNetwork(
        nodes,
        { name: network, id: await requireNetwork(network) },
        index => nodeAddress(platform, index),
        platform.applications.names,
      ),
    )
    await out.step('Start the nodes', async () => {
      const stopped = nodes.filter(({ running }) => !running).map(({ id }) => id)
      if (stopped.length > 0) await $`docker start ${stopped}`
      await ensureKubeconfig(platform)
      const started = await ownNodes(platform)
      await waitForCluster(platform, started)
      await ensureIngressAddresses(platform, started)
      return stopped.length > 0 ? 'updated' : 'unchanged'
    })
    await out.step('Resolve the names of the platform inside pods', () => ensurePodNames(platform))
    await out.step('Wait until the applications answer', () => waitForStartedIngress(platform))
    out.summary(`The cluster answers again: http://${platform.applications.names[0]}`)
  },
})
