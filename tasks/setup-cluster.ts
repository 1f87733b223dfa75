#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { applicationsNamespace, clusterOf } from '../lib/cluster/cluster.ts'
import { waitForEndpoints } from '../lib/cluster/endpoints.ts'
import { requireContext } from '../lib/cluster/existing.ts'
import { desiredConfig, phaseOf } from '../lib/cluster/kind.ts'
import { kubectlHint } from '../lib/cluster/kubectl.ts'
import {
  creationError,
  finishCreation,
  misfits,
  prepareCreation,
  removeCluster,
  requireRecreate,
  waitForApi,
  waitForNodes,
} from '../lib/cluster/lifecycle.ts'
import { mergeIntoUsers } from '../lib/cluster/merge-kubeconfig.ts'
import { ensurePodNames, nodeAddress } from '../lib/cluster/names.ts'
import { ensureRegistryWiring } from '../lib/cluster/node-registry.ts'
import { ensureOnNetwork, requireNetwork } from '../lib/cluster/nodes.ts'
import { adopt, describeForeign, findCluster, isAdoptable, ownNodes, requireNodes } from '../lib/cluster/ownership.ts'
import { ensureTools } from '../lib/cluster/tools.ts'
import { networkName } from '../lib/platform/addresses.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { chooseEngine, inspectMachine } from '../lib/routes/choose.ts'
import { makeWayForPublishing } from '../lib/routes/setup.ts'
import { badInput } from '../lib/system/errors.ts'
import { $ } from '../lib/system/exec.ts'

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
      help: 'where the cluster does not fit the settings any more: delete it, and create it again',
    },
    adopt: {
      type: 'boolean',
      help: 'take over a cluster that was created from this folder, where the record of that is lost',
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
    await out.step(`Check ${cluster.kind === 'kind' ? 'kind and kubectl' : 'kubectl'}`, ({ update }) =>
      ensureTools(platform, { report: update }),
    )
    if (cluster.kind === 'existing') {
      await out.step(`Check the permissions in ${cluster.context}`, () => requireContext(cluster))
      return out.summary(
        `Only the namespace ${applicationsNamespace} of ${cluster.context} will be changed. Next: task build-and-push`,
      )
    }

    // everything that could end this half way is looked at before anything is created
    const machine = await inspectMachine()
    const publishes = chooseEngine(platform.settings.ROUTING, machine) === 'publish'
    const wanted = await desiredConfig(platform, publishes)
    await requireNetwork(networkName(platform.settings))
    const { foreign } = await findCluster(platform)
    if (foreign !== undefined && options.adopt && isAdoptable(foreign, platform.paths)) {
      const what = `Take over the cluster ${foreign.name}, ${describeForeign(foreign)}?`
      if (!yes && !out.interactive)
        throw badInput('Taking over a cluster needs a confirmation', [
          { where: '--adopt', what: 'there is no terminal for the prompt; --yes confirms it' },
        ])
      if (!yes && !(await out.confirm(what))) return
      await adopt(foreign, platform.paths)
    }
    let nodes = await ownNodes(platform)

    const stopped = nodes.filter(({ running }) => !running).map(({ id }) => id)
    if (stopped.length > 0)
      await out.step('Start the nodes', async () => {
        await $`docker start ${stopped}`
        return 'updated'
      })
    const reasons = nodes.length > 0 ? await misfits(platform, wanted) : []
    if (reasons.length > 0) {
      const isFinished = !reasons.includes('its creation was not finished')
      if (isFinished && !options.recreate) requireRecreate(platform, reasons)
      const what = `Delete the cluster ${cluster.name} with all that runs in it (${reasons.join('; ')})?`
      if (isFinished && !yes && out.interactive && !(await out.confirm(what))) return
      await out.step('Remove the cluster that does not fit', () => removeCluster(platform, nodes))
      nodes = []
    }

    await out.step(`Create the nodes from ${platform.settings.KIND_NODE_IMAGE.split('@')[0]}`, async ({ update }) => {
      if (nodes.length > 0) return 'unchanged'
      if (publishes) await makeWayForPublishing(platform, machine, 'cluster', out)
      const config = await prepareCreation(platform, wanted)
      const onLine = (line: string) => update(phaseOf(line) ?? '')
      try {
        await $({
          timeout: createTimeout,
          onLine,
        })`kind create cluster --name ${cluster.name} --config ${config} --kubeconfig ${cluster.kubeconfig}`
      } catch (error) {
        throw await creationError(platform, error)
      }
      await finishCreation(platform, wanted)
      return 'created'
    })
    nodes = await requireNodes(platform)
    await out.step('Connect the nodes to the services', () =>
      ensureOnNetwork(
        nodes,
        networkName(platform.settings),
        index => nodeAddress(platform, index),
        platform.applications.names,
      ),
    )
    await out.step('Resolve the names of the platform inside pods', () => ensurePodNames(platform))
    await out.step('Configure the nodes to pull from the registry', () => ensureRegistryWiring(platform, nodes))
    await out.step('Wait until the nodes are ready', async () => {
      await waitForApi(platform)
      await waitForNodes(platform)
      await waitForEndpoints(cluster, nodes)
      return 'unchanged'
    })
    if (options['merge-kubeconfig'])
      await out.step('Add the context to your kubeconfig', () => mergeIntoUsers(platform, environment))
    out.summary(`${kubectlHint(cluster)} get nodes`)
  },
})

/** kind pulls a node image of one gigabyte without printing how far it is, then gives the nodes four minutes to start. */
const createTimeout = '20m'
