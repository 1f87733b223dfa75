import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'yaml'
import type { Platform } from '../platform/platform.ts'
import { writeIfChanged } from '../platform/render.ts'
import { chooseEngine, inspectMachine, type RoutingMachine } from '../routes/choose.ts'
import { PlatformError } from '../system/errors.ts'
import { ask, lastLines, run } from '../system/exec.ts'
import { exists } from '../system/files.ts'
import { describeHolder, hintToFree, holdersOf, listeners } from '../system/ports.ts'
import { clusterFolder, clusterOf, platformNamespace } from './cluster.ts'
import { configText, desiredConfig, differences, type KindConfig, phaseOf } from './kind.ts'
import { applyManifests, askKubectl, getObject, kubectl, kubectlHint, manifestText } from './kubectl.ts'
import { rememberNetwork } from './network.ts'
import { type ClusterNode, ensureRestart, nodesOf, removeNodes, startNodes } from './nodes.ts'
import { forgetScraped } from './scrape.ts'
import { waitUntilSettled } from './settled.ts'
import { requireCgroupFor } from './versions.ts'

/** An API server of a started node answers within some 10 s; a busy machine with several nodes takes a few times that. */
const answerDeadlineMs = 180_000
/** Remembers the config that a cluster was made with, in the cluster itself: it goes when the cluster goes. */
const record = 'kind-config'

export interface EnsureOptions {
  /** Delete a cluster that does not fit any more and make it anew. */
  recreate?: boolean
  /** Frees the addresses that the node is to publish itself; called where it is about to do so. */
  makeWay?: (machine: RoutingMachine) => Promise<unknown>
  /** What is happening right now. */
  report?: (phase: string) => void
}

/**
 * The KinD cluster as the settings describe it, with its API answering (nodes may not be Ready yet). One that fits is kept, one that was left
 * unfinished is made anew. Throws, naming the differences, for one that does not fit, unless `recreate` says to replace it.
 */
export async function ensureCluster(
  platform: Platform,
  { recreate = false, makeWay, report = () => {} }: EnsureOptions = {},
): Promise<'unchanged' | 'created' | 'updated'> {
  const { settings } = platform
  const machine = await inspectMachine()
  const engine = chooseEngine(settings.ROUTING, machine)
  const wanted = await desiredConfig(platform, engine === 'publish')
  const nodes = await nodesOf(settings.CLUSTER_NAME)
  if (nodes.length > 0) {
    if (await isUnfinished(platform)) report('removing a cluster that was not finished')
    else {
      const started = await startNodes(nodes)
      await ensureKubeconfig(platform)
      const reasons = await reasonsAgainst(platform, wanted)
      if (reasons.length === 0) return started
      if (!recreate) throw doesNotFit(platform, reasons)
    }
    await removeCluster(platform)
  }
  if (engine === 'publish') await makeWay?.(machine)
  await preflight(platform, wanted)
  await create(platform, wanted, report)
  return nodes.length > 0 ? 'updated' : 'created'
}

function doesNotFit({ settings }: Platform, reasons: readonly string[]): PlatformError {
  return new PlatformError(`The cluster ${settings.CLUSTER_NAME} was made with another configuration`, {
    why: reasons.join('\n'),
    hint: 'task setup-cluster -- --recreate   # deletes the cluster with all that runs in it, and makes it anew\nor take the change back',
  })
}

/** Why the existing cluster is not the wanted one; nothing when it is. */
async function reasonsAgainst(platform: Platform, wanted: KindConfig): Promise<string[]> {
  const cluster = clusterOf(platform)
  await waitForApi(platform)
  const made = await getObject(cluster, platformNamespace, 'configmap', record)
  const text = (made?.data as Record<string, string> | undefined)?.config
  return text === undefined
    ? [`it was not made by this platform; CLUSTER_NAME in .env can give ours another name`]
    : differences(parse(text), wanted)
}

/** Finds what would make kind fail late, or take something from somebody. */
async function preflight(platform: Platform, wanted: KindConfig): Promise<void> {
  await requireCgroupFor(platform.settings.KIND_NODE_IMAGE)
  const table = await listeners()
  const problems = wanted.nodes
    .flatMap(node => node.extraPortMappings ?? [])
    .flatMap(({ listenAddress, hostPort, protocol }) => {
      const kind = protocol.toLowerCase() as 'tcp' | 'udp'
      const [holder] = holdersOf({ ip: listenAddress, port: hostPort }, table, kind)
      return holder
        ? [{ text: `${listenAddress}:${hostPort}/${kind} is held by ${describeHolder(holder)}`, holder }]
        : []
    })
  const [first] = problems
  if (first === undefined) return
  throw new PlatformError('The cluster needs ports that are in use', {
    why: problems.map(({ text }) => text).join('\n'),
    hint: `${hintToFree(first.holder)}\nor set INGRESS_HTTP_PORT and INGRESS_HTTPS_PORT in .env`,
  })
}

async function create(platform: Platform, wanted: KindConfig, report: (phase: string) => void): Promise<void> {
  const cluster = clusterOf(platform)
  const configFile = join(clusterFolder(platform), 'kind.yaml')
  await writeIfChanged(
    configFile,
    `# Rendered from templates/kind/cluster.yaml; changes belong into kind.local.yaml.\n${configText(wanted)}`,
  )
  await mkdir(clusterFolder(platform), { recursive: true })
  await writeFile(unfinishedMark(platform), '')
  await rememberNetwork(platform.paths)
  const words = ['create', 'cluster', '--name', cluster.name, '--config', configFile]
  const command = ['kind', ...words, '--kubeconfig', cluster.kubeconfig ?? '']
  const result = await ask(command, {
    onLine(line) {
      const phase = phaseOf(line)
      if (phase) report(phase)
    },
  })
  if (result.exitCode !== 0) {
    throw new PlatformError(`The cluster ${cluster.name} could not be made`, {
      why: lastLines(result.stderr.replaceAll(/[^\x20-\x7e\n]/g, '')),
      hint: 'Once the cause is gone, run this again: what is left of this attempt is removed first',
    })
  }
  await ensureRestart(await nodesOf(cluster.name))
  await remember(platform, wanted)
  await rm(unfinishedMark(platform), { force: true })
}

async function remember(platform: Platform, config: KindConfig): Promise<void> {
  const manifests = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: platformNamespace } },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: record, namespace: platformNamespace },
      data: { config: configText(config) },
    },
  ]
  await applyManifests(clusterOf(platform), manifestText(manifests))
}

/** Our own kubeconfig, written again where it is missing; readable by its owner only. */
export async function ensureKubeconfig(platform: Platform): Promise<void> {
  const { name, kubeconfig } = clusterOf(platform)
  const { stdout } = await run(['kind', 'get', 'kubeconfig', '--name', name])
  await writeIfChanged(kubeconfig ?? '', stdout, 0o600)
}

/** Waits until the API server answers. Throws with its last words after three minutes. */
export async function waitForApi(platform: Platform): Promise<void> {
  const cluster = clusterOf(platform)
  const deadline = Date.now() + answerDeadlineMs
  for (;;) {
    const words = await askKubectl(cluster, ['get', '--raw', '/readyz', '--request-timeout', '5s']).then(
      ({ exitCode, stderr }) => (exitCode === 0 ? undefined : stderr),
      (error: PlatformError) => error.why ?? error.message,
    )
    if (words === undefined) return
    if (Date.now() > deadline)
      throw new PlatformError(`The cluster ${cluster.name} does not answer after ${answerDeadlineMs / 1000} s`, {
        why: lastLines(words, 3),
        hint: `docker logs ${cluster.name}-control-plane`,
      })
    await new Promise(resume => setTimeout(resume, 500))
  }
}

/** Waits until every node is Ready. Throws with what the nodes say of themselves. */
export async function waitForNodes(platform: Platform): Promise<void> {
  const cluster = clusterOf(platform)
  const seconds = answerDeadlineMs / 1000
  const words = ['wait', '--for', 'condition=Ready', 'nodes', '--all', '--timeout', `${seconds}s`]
  const result = await askKubectl(cluster, words)
  if (result.exitCode === 0) return
  throw new PlatformError(`Nodes of ${cluster.name} are not ready after ${seconds} s`, {
    why: lastLines(result.stderr),
    hint: `${kubectlHint(cluster)} describe nodes`,
  })
}

/** Starts a stopped cluster and waits until it answers; quiet about one that runs. Throws where there is none. */
export async function startCluster(platform: Platform): Promise<'unchanged' | 'updated'> {
  const nodes = await existingNodes(platform)
  const outcome = await startNodes(nodes)
  await ensureKubeconfig(platform)
  await waitForApi(platform)
  await waitForNodes(platform)
  await waitUntilSettled(clusterOf(platform), nodes)
  return outcome
}

/** The nodes of our cluster. Throws where there is none. */
export async function existingNodes({ settings }: Platform): Promise<ClusterNode[]> {
  const nodes = await nodesOf(settings.CLUSTER_NAME)
  if (nodes.length > 0) return nodes
  throw new PlatformError(`There is no cluster ${settings.CLUSTER_NAME}`, { hint: 'task setup-cluster' })
}

/** Deletes the cluster and what is remembered of it; quiet where there is none. */
export async function removeCluster(platform: Platform): Promise<'unchanged' | 'removed'> {
  const { name, kubeconfig } = clusterOf(platform)
  const nodes = await nodesOf(name)
  if (nodes.length > 0) await removeNodes(nodes.map(node => node.name))
  if (kubeconfig !== undefined) await rm(kubeconfig, { force: true })
  await forgetScraped(platform.paths)
  await rm(unfinishedMark(platform), { force: true })
  return nodes.length > 0 ? 'removed' : 'unchanged'
}

function unfinishedMark(platform: Platform): string {
  return join(clusterFolder(platform), 'unfinished')
}

async function isUnfinished(platform: Platform): Promise<boolean> {
  return exists(unfinishedMark(platform))
}

/** Lines about the cluster itself, for a person: server version and nodes. */
export async function describeNodes(platform: Platform): Promise<string> {
  return (await kubectl(clusterOf(platform), ['get', 'nodes', '-o', 'wide'])).trimEnd()
}
