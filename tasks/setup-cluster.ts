#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import type { Output } from '../lib/cli/output.ts'
import { defineTask } from '../lib/cli/task.ts'
import { applicationsNamespace, clusterOf } from '../lib/cluster/cluster.ts'
import { lookAtCluster } from '../lib/cluster/endpoints.ts'
import { requireContext } from '../lib/cluster/existing.ts'
import { desiredConfig, type KindConfig, nodeImage, phaseOf } from '../lib/cluster/kind.ts'
import { type KubeObject, kubectlHint } from '../lib/cluster/kubectl.ts'
import {
  createNodes,
  finishCreation,
  misfitError,
  misfits,
  prepareCreation,
  removeCluster,
  waitForCluster,
} from '../lib/cluster/lifecycle.ts'
import { mergeIntoUsers } from '../lib/cluster/merge-kubeconfig.ts'
import { ensurePodNames, nodeAddress } from '../lib/cluster/names.ts'
import { ensureRegistryWiring } from '../lib/cluster/node-registry.ts'
import { type ClusterNode, ensureOnNetwork, requireNetwork } from '../lib/cluster/nodes.ts'
import {
  adopt,
  describeForeign,
  findCluster,
  isAdoptable,
  ownNodes,
  requireNodes,
  unfinishedCreation,
} from '../lib/cluster/ownership.ts'
import { ensureTools } from '../lib/cluster/tools.ts'
import { networkName } from '../lib/platform/addresses.ts'
import { loadPlatform, type Platform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { chooseEngine, inspectMachine } from '../lib/routes/choose.ts'
import { makeWayForPublishing } from '../lib/routes/setup.ts'
import { whileAnswering } from '../lib/stack/engine.ts'
import { missingImages, pullImages } from '../lib/stack/image-store.ts'
import { badInput } from '../lib/system/errors.ts'
import { $ } from '../lib/system/exec.ts'
import { early } from '../lib/system/wait.ts'

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
    nodes: {
      type: 'boolean',
      help: 'only create the nodes; the services need not run yet, but their network has to be there',
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
    // whether they fit the settings is for the run that connects them
    if (options.nodes && cluster.kind === 'kind' && (await areThere(platform)))
      return out.step('Create the nodes', async () => 'unchanged')
    // whatever could end this half way is found before anything is created, and first of all a cluster of somebody else
    const network = networkName(platform.settings)
    const looks =
      cluster.kind === 'kind' ? ([early(requireNetwork(network)), early(ownNodes(platform))] as const) : undefined
    await out.step(`Check ${cluster.kind === 'kind' ? 'kind and kubectl' : 'kubectl'}`, ({ update }) =>
      ensureTools(platform, { report: update }),
    )
    if (looks === undefined) {
      await out.step(`Check the permissions in ${cluster.context}`, () => requireContext(cluster))
      return out.summary(
        `Only the namespace ${applicationsNamespace} of ${cluster.context} will be changed. Next: task build-and-push`,
      )
    }
    const own = options.adopt ? undefined : await looks[1]
    const networkId = await looks[0]
    const machine = await inspectMachine()
    const publishes = chooseEngine(platform.settings.ROUTING, machine) === 'publish'
    const wanted = await desiredConfig(platform, publishes)
    if (options.adopt && !(await adoptForeign(platform, { yes, out }))) return
    const present = own ?? (await ownNodes(platform))
    const fitting = await startFitting(platform, present, wanted, { recreate: options.recreate ?? false, yes, out })
    if (fitting === undefined) return
    const { nodes: existing, seen } = fitting

    await out.step(`Create the nodes from ${platform.settings.KIND_NODE_IMAGE.split('@')[0]}`, async ({ update }) => {
      if (existing.length > 0) return 'unchanged'
      // kind would pull them, too, without a word about how far it is
      const missing = await missingImages(wanted.nodes.map(({ image }) => image ?? nodeImage(platform.settings)))
      await pullImages(missing, image => image, update)
      if (publishes) await makeWayForPublishing(platform, machine, 'cluster', out)
      const config = await prepareCreation(platform, wanted)
      const kind = $({ idle: createIdle, onLine: line => update(phaseOf(line) ?? '') })
      const create = () =>
        whileAnswering(
          kind`kind create cluster --name ${cluster.name} --config ${config} --kubeconfig ${cluster.kubeconfig}`,
        )
      await createNodes(platform, create, update)
      await finishCreation(platform, wanted)
      return 'created'
    })
    if (options.nodes) return out.summary('The nodes are there. To connect them: task setup-cluster')
    const nodes = existing.length > 0 ? existing : await requireNodes(platform)
    // neither needs the other, nor that the nodes are connected
    const [names, registry] = [
      early(ensurePodNames(platform, seen)),
      early(ensureRegistryWiring(platform, nodes, seen)),
    ]
    await out.step('Connect the nodes to the services', () =>
      ensureOnNetwork(
        nodes,
        { name: network, id: networkId },
        index => nodeAddress(platform, index),
        platform.applications.names,
      ),
    )
    await out.step('Resolve the names of the platform inside pods', () => names)
    await out.step('Configure the nodes to pull from the registry', () => registry)
    await out.step('Wait until the nodes are ready', async () => {
      await waitForCluster(platform, nodes, seen)
      return 'unchanged'
    })
    if (options['merge-kubeconfig'])
      await out.step('Add the context to your kubeconfig', () => mergeIntoUsers(platform, environment))
    out.summary(`${kubectlHint(cluster)} get nodes`)
  },
})

/** kubeadm gives each node four minutes to start, of which kind says nothing. */
const createIdle = '5m'

/** Whether all nodes of our cluster run, and their creation was finished. */
async function areThere(platform: Platform): Promise<boolean> {
  const nodes = await ownNodes(platform)
  return (
    nodes.length > 0 &&
    nodes.every(({ running }) => running) &&
    (await unfinishedCreation(platform.paths)) === undefined
  )
}

/** Takes over a cluster that was created from this folder, where a person agrees; false where they do not. */
async function adoptForeign(platform: Platform, { yes, out }: { yes: boolean; out: Output }): Promise<boolean> {
  const { foreign } = await findCluster(platform)
  if (foreign === undefined || !isAdoptable(foreign, platform.paths)) return true
  if (!yes && !out.interactive)
    throw badInput('Taking over a cluster needs a confirmation', [
      { where: '--adopt', what: 'there is no terminal for the prompt; --yes confirms it' },
    ])
  if (!yes && !(await out.confirm(`Take over the cluster ${foreign.name}, ${describeForeign(foreign)}?`))) return false
  await adopt(foreign, platform.paths)
  return true
}

/**
 * The running nodes of our cluster, where they fit the settings, and what a look at the cluster found, where they ran already. Those that do not are
 * removed, where their creation was not finished or somebody said so: then there are none. undefined where a person did not agree.
 */
async function startFitting(
  platform: Platform,
  nodes: readonly ClusterNode[],
  wanted: KindConfig,
  { recreate, yes, out }: { recreate: boolean; yes: boolean; out: Output },
): Promise<{ nodes: readonly ClusterNode[]; seen?: readonly KubeObject[] | undefined } | undefined> {
  if (nodes.length === 0) return { nodes: [] }
  if ((await unfinishedCreation(platform.paths)) === undefined) {
    const stopped = nodes.filter(({ running }) => !running).map(({ id }) => id)
    if (stopped.length > 0)
      await out.step('Start the nodes', async () => {
        await $`docker start ${stopped}`
        return 'updated'
      })
    const seen = await lookAtCluster(clusterOf(platform)).catch(() => undefined)
    const reasons = await misfits(platform, wanted, seen)
    if (reasons.length === 0) return stopped.length === 0 ? { nodes, seen } : { nodes: await ownNodes(platform) }
    if (!recreate) throw misfitError(platform, reasons)
    const what = `Delete the cluster with all that runs in it (${reasons.join('; ')})?`
    if (!yes && out.interactive && !(await out.confirm(what))) return undefined
  }
  await out.step('Remove the nodes that do not fit', () => removeCluster(platform, nodes))
  return { nodes: [] }
}
