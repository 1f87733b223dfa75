import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'yaml'
import type { Platform } from '../platform/platform.ts'
import { writeIfChanged } from '../platform/render.ts'
import { nameInEngine } from '../stack/image-store.ts'
import { PlatformError } from '../system/errors.ts'
import { $, lastLines } from '../system/exec.ts'
import { describeHolder, hintToFree, holdersOf, listeners } from '../system/ports.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import { applyManifests, forgetApplied, manifestText } from './apply.ts'
import { clusterFolder, clusterOf, platformNamespace } from './cluster.ts'
import { lookAtCluster, unsettled, waitForEndpoints } from './endpoints.ts'
import { configText, differences, type KindConfig } from './kind.ts'
import { findObject, getObject, type KubeObject, kubectlHint, kubectlOn } from './kubectl.ts'
import { rememberNetwork, rememberNetworkId } from './network.ts'
import { type ClusterNode, ensureRestart, nodesNamed, removeNodes } from './nodes.ts'
import { beginCreation, endCreation, findCluster, foreignError, forgetNodes, recordNodes } from './ownership.ts'
import { forgetScraped } from './scrape.ts'
import { requireCgroupFor } from './versions.ts'

/** An API server of a started node answers within some 10 s; a busy machine with several nodes takes a few times that. */
const answerTimeoutMs = 180_000
/** Holds the config that a cluster was created with, in the cluster itself: it goes when the cluster goes. */
const configRecord = 'kind-config'

/**
 * What differs between our running cluster and the config it should have been created with. `seen` is what a look at all of it has found a moment ago;
 * undefined where it did not answer.
 */
export async function misfits(
  platform: Platform,
  wanted: KindConfig,
  seen: readonly KubeObject[] | undefined,
): Promise<string[]> {
  const record = () => getObject(clusterOf(platform), platformNamespace, 'configmap', configRecord)
  // a cluster that says so with the kubeconfig that is there needs no new one
  const found =
    (seen && findObject(seen, platformNamespace, 'ConfigMap', configRecord)) ?? (await reached(platform).then(record))
  const text = (found?.data as Record<string, string> | undefined)?.config
  return text === undefined
    ? ['it does not say with which configuration it was created']
    : differences(parse(text), wanted)
}

async function reached(platform: Platform): Promise<void> {
  await ensureKubeconfig(platform)
  await waitForApi(platform)
}

/** The error for a cluster that would have to be deleted and created again, where nobody has said so. */
export function misfitError({ settings }: Platform, reasons: readonly string[]): PlatformError {
  return new PlatformError(`The cluster ${settings.CLUSTER_NAME} was created with another configuration`, {
    why: reasons.join('\n'),
    hint: 'task setup-cluster -- --recreate   # deletes the cluster with all that runs in it, and creates it again\nor undo the change of the settings',
  })
}

/**
 * Everything that `kind create` needs, checked and written: what would make it fail late is found before. Returns the file for its `--config`.
 * Throws for ports that are in use, with who holds them, and for a cluster of that name.
 */
export async function prepareCreation(platform: Platform, wanted: KindConfig): Promise<string> {
  await requireCgroupFor(platform.settings.KIND_NODE_IMAGE)
  await requireFreePorts(wanted)
  const { foreign } = await findCluster(platform)
  if (foreign !== undefined) throw foreignError(foreign, platform.paths)
  const file = join(clusterFolder(platform), 'kind.yaml')
  const text = configText({ ...wanted, nodes: await Promise.all(wanted.nodes.map(withNameInEngine)) })
  await writeIfChanged(
    file,
    `# Rendered from templates/kind/cluster.yaml; changes belong into kind.local.yaml.\n${text}`,
  )
  await beginCreation(platform.settings.CLUSTER_NAME, platform.paths)
  await rememberNetwork(platform.paths)
  return file
}

/** kind pulls what the engine does not have under that name. */
async function withNameInEngine<T extends KindConfig['nodes'][number]>(node: T): Promise<T> {
  return node.image === undefined ? node : { ...node, image: await nameInEngine(node.image) }
}

async function requireFreePorts(wanted: KindConfig): Promise<void> {
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

/**
 * Creates the nodes with `create`, which runs `kind create`. Throws a PlatformError with kind's words; what is left of the attempt is removed by the
 * next `prepareCreation`.
 */
export async function createNodes(
  platform: Platform,
  create: () => Promise<unknown>,
  report: (text: string) => void,
): Promise<void> {
  const nothingLeft = async () => (await nodesNamed(platform.settings.CLUSTER_NAME)).length === 0
  await untilNodesStart(create, nothingLeft, report).catch(async error => {
    throw await creationError(platform, error)
  })
}

/**
 * Runs `create` again, twice at most, where a node took too long to start: kind gives its systemd 30 seconds, a limit without an option
 * (`createContainerWithWaitUntilSystemdReachesMultiUserSystem` in its source), and removes the nodes. On a busy disk the first start of a node reads
 * for longer; the next finds what was read. Not where nodes are left, ours or somebody else's: kind would take either for a cluster that exists.
 * Says so with `report`. Throws what the last run threw.
 */
export async function untilNodesStart(
  create: () => Promise<unknown>,
  nothingLeft: () => Promise<boolean>,
  report: (text: string) => void,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await create()
      return
    } catch (error) {
      if (attempt === 3 || !isSlowStart(error) || !(await nothingLeft())) throw error
      report('a node took more than 30 s to start; once more')
    }
  }
}

function isSlowStart(error: unknown): boolean {
  return error instanceof PlatformError && /could not find a log line that matches/.test(error.why ?? '')
}

/** The error for a `kind create` that failed. */
async function creationError(platform: Platform, error: unknown): Promise<unknown> {
  if (!(error instanceof PlatformError)) return error
  // kind removes its nodes when it fails; where somebody else was faster, those that are there now are theirs
  const isTaken = /already exist for a cluster with the name/.test(error.why ?? '')
  if (isTaken || (await nodesNamed(platform.settings.CLUSTER_NAME)).length === 0) await endCreation(platform.paths)
  return new PlatformError(`The cluster ${platform.settings.CLUSTER_NAME} could not be created`, {
    why: error.why?.replaceAll(/[^\x20-\x7e\n]/g, '') || error.message,
    hint: 'Once the cause is gone, run this again: what is left of this attempt is removed first',
  })
}

/** Records new nodes as ours, on this machine and in the cluster, and has them come back with the engine. */
export async function finishCreation(platform: Platform, wanted: KindConfig): Promise<void> {
  const nodes = await nodesNamed(platform.settings.CLUSTER_NAME)
  await recordNodes(nodes, platform.paths)
  await rememberNetworkId(platform.paths)
  await ensureRestart(nodes)
  const manifests = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: platformNamespace } },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: configRecord, namespace: platformNamespace },
      data: { config: configText(wanted) },
    },
  ]
  await applyManifests(clusterOf(platform), manifestText(manifests))
  await endCreation(platform.paths)
}

/** Our own kubeconfig, written again where it is missing; readable by its owner only. For our own cluster only. */
export async function ensureKubeconfig(platform: Platform): Promise<void> {
  const { name, kubeconfig } = clusterOf(platform)
  const { stdout } = await $`kind get kubeconfig --name ${name}`
  await writeIfChanged(kubeconfig ?? '', stdout, 0o600)
}

/**
 * Waits until the cluster of these running nodes can be used: its API answers, they are Ready, and its Services forward to their pods. `found` is what a
 * look at all of it has found a moment ago.
 */
export async function waitForCluster(
  platform: Platform,
  [node]: readonly ClusterNode[],
  found?: readonly KubeObject[],
): Promise<void> {
  if (node === undefined) return
  const cluster = clusterOf(platform)
  const seen = found ?? (await lookAtCluster(cluster).catch(() => undefined))
  if (seen !== undefined && unsettled(seen, node.started) === undefined) return
  await waitForApi(platform)
  await waitForNodes(platform)
  await waitForEndpoints(cluster, node)
}

/** Waits until the API server answers. Throws with its last words after three minutes. */
async function waitForApi(platform: Platform): Promise<void> {
  const cluster = clusterOf(platform)
  await waitFor(
    async signal => {
      const kubectl = kubectlOn(cluster, { nothrow: true, signal })
      const { exitCode, stderr } = await kubectl`get --raw /readyz --request-timeout 5s`
      return exitCode === 0 || new NotYet(stderr)
    },
    {
      timeoutMs: answerTimeoutMs,
      pauseMs: 500,
      onTimeout: last =>
        new PlatformError(`The cluster ${cluster.name} does not answer after ${answerTimeoutMs / 1000} s`, {
          why: lastLines(last, 3),
          hint: `docker logs ${cluster.name}-control-plane`,
        }),
    },
  )
}

/** Waits until every node is Ready. Throws with what the nodes say of themselves. */
async function waitForNodes(platform: Platform): Promise<void> {
  const cluster = clusterOf(platform)
  const seconds = answerTimeoutMs / 1000
  const kubectl = kubectlOn(cluster, { nothrow: true, timeout: `${seconds + 10}s` })
  const { exitCode, stderr } = await kubectl`wait --for condition=Ready nodes --all --timeout ${seconds}s`
  if (exitCode === 0) return
  throw new PlatformError(`Nodes of ${cluster.name} are not ready after ${seconds} s`, {
    why: lastLines(stderr),
    hint: `${kubectlHint(cluster)} describe nodes`,
  })
}

/** Deletes the nodes of our cluster, and what is recorded of it; quiet where there are none. */
export async function removeCluster(
  platform: Platform,
  nodes: readonly ClusterNode[],
): Promise<'unchanged' | 'removed'> {
  const ids = nodes.map(({ id }) => id)
  if (ids.length > 0) await removeNodes(ids)
  await forgetNodes(ids, platform.paths)
  const { kubeconfig } = clusterOf(platform)
  if (kubeconfig !== undefined) await rm(kubeconfig, { force: true })
  await forgetScraped(platform.paths)
  await forgetApplied(platform)
  await endCreation(platform.paths)
  return ids.length > 0 ? 'removed' : 'unchanged'
}
