#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { applicationsNamespace, clusterOf } from '../lib/cluster/cluster.ts'
import { requireContext } from '../lib/cluster/existing.ts'
import { kubectlHint } from '../lib/cluster/kubectl.ts'
import { ensureCluster, existingNodes, waitForNodes } from '../lib/cluster/lifecycle.ts'
import { mergeIntoUsers } from '../lib/cluster/merge-kubeconfig.ts'
import { ensurePodNames, nodeAddress } from '../lib/cluster/names.ts'
import { ensureRegistryWiring } from '../lib/cluster/node-registry.ts'
import { ensureOnNetwork } from '../lib/cluster/nodes.ts'
import { waitUntilSettled } from '../lib/cluster/settled.ts'
import { ensureTools } from '../lib/cluster/tools.ts'
import { networkName } from '../lib/platform/addresses.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { makeWayForPublishing } from '../lib/routes/setup.ts'

export default defineTask({
  name: 'setup-cluster',
  summary: 'Create the KinD cluster and connect it to the registry and the services',
  replaces: 'scripts/setup-cluster.sh',
  leaves: [
    'containers of the KinD nodes, and the Docker network kind',
    'listeners on 127.0.0.1:8080 and :8443, and on 127.0.0.2:4433/udp',
    'kind and kubectl in .macula/bin, where CLUSTER_TOOLS=install; teardown removes them',
    '.macula/kubeconfig; your own kubeconfig stays as it is, unless --merge-kubeconfig',
  ],
  undo: 'task delete-cluster',
  options: {
    recreate: {
      type: 'boolean',
      help: 'where the cluster does not fit the settings any more: delete it, and make it anew',
    },
    'merge-kubeconfig': {
      type: 'boolean',
      help: 'add the context to your own kubeconfig, too; your current context stays',
    },
  },
  async run({ options, yes, out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const cluster = clusterOf(platform)
    out.title(`Cluster ${cluster.name}`)
    await out.step(`Have ${cluster.kind === 'kind' ? 'kind and kubectl' : 'kubectl'}`, ({ update }) =>
      ensureTools(platform, { report: update }),
    )
    if (cluster.kind === 'existing') {
      await out.step(`Ask ${cluster.context} whether it lets us in`, () => requireContext(cluster))
      return out.summary(
        `Only the namespace ${applicationsNamespace} of ${cluster.context} will be touched. Next: task build-and-push`,
      )
    }

    const recreate = options.recreate ?? false
    if (
      recreate &&
      !yes &&
      out.interactive &&
      !(await out.confirm('Delete the cluster where it does not fit, with all that runs in it?'))
    )
      return
    await out.step(`Create the nodes from ${platform.settings.KIND_NODE_IMAGE.split('@')[0]}`, progress =>
      ensureCluster(platform, {
        recreate,
        makeWay: machine => makeWayForPublishing(platform, machine, 'cluster', out),
        report: progress.update,
      }),
    )
    const nodes = await existingNodes(platform)
    await out.step('Connect the nodes to the services', () =>
      ensureOnNetwork(
        nodes,
        networkName(platform.settings),
        index => nodeAddress(platform, index),
        platform.applications.names,
      ),
    )
    await out.step('Teach pods the names of the platform', () => ensurePodNames(platform))
    await out.step('Let the nodes pull from the registry', () => ensureRegistryWiring(platform, nodes))
    await out.step('Wait until the nodes are ready', async () => {
      await waitForNodes(platform)
      await waitUntilSettled(cluster, nodes)
      return 'unchanged'
    })
    if (options['merge-kubeconfig'])
      await out.step('Add the context to your kubeconfig', () => mergeIntoUsers(platform, environment))
    out.summary(`${kubectlHint(cluster)} get nodes`)
  },
})
