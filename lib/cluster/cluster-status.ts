import type { Platform } from '../platform/platform.ts'
import { messageOf } from '../system/errors.ts'
import { requireOk, type WebAddress } from './answer.ts'
import { applicationNames, applicationsNamespace, clusterOf, collectorNamespace, ingressNamespace } from './cluster.ts'
import { collectorImage } from './collector.ts'
import { digestOf } from './image-registry.ts'
import { ingressAddress } from './ingress.ts'
import { getObjects, type KubeObject } from './kubectl.ts'
import { describeForeign, findCluster } from './ownership.ts'
import { troubleOf, unfinishedRollouts } from './rollout.ts'

/** `healthy`: it answers at its URL. `unhealthy`: it is there and does not. */
export type ClusterState = 'healthy' | 'starting' | 'unhealthy' | 'stopped' | 'not created'

/** One line about the cluster: a node, the ingress, an application, or the collectors of its logs and metrics. */
export interface ClusterRow {
  kind: 'node' | 'ingress' | 'application' | 'collector'
  name: string
  url: string
  state: ClusterState
  /** What was seen, in words. */
  detail: string
  since: Date | undefined
  /** Of applications: the image's digest in use, and whether the registry's `dev` is the same one. */
  digest?: string
  current?: boolean
}

/** For the API server, which answers within milliseconds or not at all. */
const apiTimeout = '3s'
const probeTimeoutMs = 2000

/**
 * Looks at the cluster, its ingress and its applications, from outside and through its API. Empty where none was created; never throws for a
 * cluster that is stopped or does not answer.
 */
export async function clusterStatus(platform: Platform): Promise<ClusterRow[]> {
  const cluster = clusterOf(platform)
  const { nodes, foreign } =
    cluster.kind === 'kind'
      ? await findCluster(platform).catch(() => ({ nodes: [], foreign: undefined }))
      : { nodes: [], foreign: undefined }
  const stopped = nodes.filter(({ running }) => !running)
  const down = (state: ClusterState, detail: string): ClusterRow[] => [
    { kind: 'node', name: cluster.name, url: '', state, detail, since: undefined },
    ...names(platform).map(row => ({ ...row, state, detail: '', since: undefined })),
  ]
  if (foreign !== undefined) return down('not created', `another installation's cluster, ${describeForeign(foreign)}`)
  if (cluster.kind === 'kind' && nodes.length === 0) return []
  if (stopped.length > 0) return down('stopped', `${stopped.map(({ name }) => name).join(', ')} stopped`)
  const timeout = ['--request-timeout', apiTimeout]
  try {
    const ofOurs = ['nodes,deployments,daemonsets,pods', '--all-namespaces']
    const ofTheirs = ['deployments,pods', '--namespace', applicationsNamespace]
    const objects = await getObjects(cluster, [...(cluster.kind === 'kind' ? ofOurs : ofTheirs), ...timeout])
    const rowOf = { ingress: ingressRow, application: applicationRow, collector: collectorRow }
    const rows = await Promise.all(names(platform).map(row => rowOf[row.kind](platform, row, objects)))
    return [...objects.filter(({ kind }) => kind === 'Node').map(nodeRow), ...rows]
  } catch (error) {
    return down('unhealthy', messageOf(error))
  }
}

type Named = Pick<ClusterRow, 'name' | 'url'> & { kind: Exclude<ClusterRow['kind'], 'node'> }

function names(platform: Platform): Named[] {
  const own = platform.settings.CLUSTER === 'kind'
  return [
    ...(own ? [{ kind: 'ingress' as const, name: 'ingress', url: '' }] : []),
    ...applicationNames(platform).map(name => ({
      kind: 'application' as const,
      name,
      url: `http://${name}.${platform.domain}`,
    })),
    ...(collectorImage(platform) === undefined ? [] : [{ kind: 'collector' as const, name: 'collector', url: '' }]),
  ]
}

function nodeRow({ metadata, status }: KubeObject): ClusterRow {
  const { conditions = [], nodeInfo } = (status ?? {}) as {
    conditions?: { type: string; status: string; message: string; lastTransitionTime: string }[]
    nodeInfo?: { kubeletVersion: string }
  }
  const ready = conditions.find(({ type }) => type === 'Ready')
  const isReady = ready?.status === 'True'
  return {
    kind: 'node',
    name: metadata.name,
    url: '',
    state: isReady ? 'healthy' : 'unhealthy',
    detail: isReady ? `Kubernetes ${nodeInfo?.kubeletVersion ?? ''}` : (ready?.message ?? 'not ready'),
    since: ready === undefined ? undefined : new Date(ready.lastTransitionTime),
  }
}

async function ingressRow(platform: Platform, row: Named, objects: readonly KubeObject[]): Promise<ClusterRow> {
  const deployment = deploymentOf(objects, ingressNamespace, 'ingress-controller')
  if (deployment === undefined) return { ...row, state: 'not created', detail: '', since: undefined }
  const failure = await failureAt(ingressAddress(platform))
  const controller = platform.settings.INGRESS_CONTROLLER
  return {
    ...row,
    state: failure === undefined ? 'healthy' : 'unhealthy',
    detail: failure ?? `IngressClass nginx, served by ${controller}`,
    since: startOf(deployment),
  }
}

async function applicationRow(platform: Platform, row: Named, objects: readonly KubeObject[]): Promise<ClusterRow> {
  const deployment = deploymentOf(objects, applicationsNamespace, row.name)
  if (deployment === undefined) return { ...row, state: 'not created', detail: '', since: undefined }
  const image = imageOf(deployment)
  const [repository = '', digest = ''] = image.split('@')
  const [failure, latest] = await Promise.all([
    failureAt({ url: row.url }),
    digestOf(platform, repository, 'dev').catch(() => undefined),
  ])
  const pods = objects.filter(
    ({ kind, metadata }) => kind === 'Pod' && metadata.labels?.['app.kubernetes.io/name'] === row.name,
  )
  const trouble = pods.map(troubleOf).find(text => text !== undefined)
  const rolling = unfinishedRollouts([deployment]).length > 0
  const { availableReplicas = 0, replicas = 0 } = (deployment.status ?? {}) as Record<string, number>
  const running = [
    `${availableReplicas} of ${replicas} pods`,
    digest.slice(0, 19),
    ...(latest !== undefined && latest !== digest ? [`the registry has ${latest.slice(0, 19)}`] : []),
  ].join(', ')
  return {
    ...row,
    state: failure === undefined ? 'healthy' : rolling && trouble === undefined ? 'starting' : 'unhealthy',
    detail: trouble?.split('\n')[0] ?? (failure === undefined ? running : `${failure}; ${running}`),
    since: startOf(deployment),
    digest,
    ...(latest === undefined ? {} : { current: latest === digest }),
  }
}

async function collectorRow(_platform: Platform, row: Named, objects: readonly KubeObject[]): Promise<ClusterRow> {
  const own = objects.filter(
    ({ kind, metadata }) => metadata.namespace === collectorNamespace && ['DaemonSet', 'Deployment'].includes(kind),
  )
  const [first] = own
  if (first === undefined) return { ...row, state: 'not created', detail: '', since: undefined }
  const pods = objects.filter(({ kind, metadata }) => kind === 'Pod' && metadata.namespace === collectorNamespace)
  const trouble = pods.map(troubleOf).find(text => text !== undefined)
  const unfinished = unfinishedRollouts(own)
  return {
    ...row,
    state: unfinished.length === 0 ? 'healthy' : trouble === undefined ? 'starting' : 'unhealthy',
    detail:
      trouble?.split('\n')[0] ??
      `${pods.length} pods${unfinished.length > 0 ? `, waiting for ${unfinished.join(', ')}` : ''}`,
    since: startOf(own.find(({ kind }) => kind === 'Deployment') ?? first),
  }
}

/** Why nothing good comes back from there; undefined where it does. */
function failureAt(address: WebAddress): Promise<string | undefined> {
  return requireOk(address, { timeoutMs: probeTimeoutMs }).then(() => undefined, messageOf)
}

function deploymentOf(objects: readonly KubeObject[], namespace: string, name: string): KubeObject | undefined {
  return objects.find(
    ({ kind, metadata }) => kind === 'Deployment' && metadata.namespace === namespace && metadata.name === name,
  )
}

function imageOf(deployment: KubeObject): string {
  const { template } = deployment.spec as { template: { spec: { containers: { image: string }[] } } }
  return template.spec.containers[0]?.image ?? ''
}

/** When the rollout of a deployment's newest version was finished, or all of it came back after a start of the nodes. */
function startOf({ status }: KubeObject): Date | undefined {
  const { conditions = [] } = (status ?? {}) as {
    conditions?: { lastUpdateTime: string; lastTransitionTime: string }[]
  }
  const times = conditions.flatMap(({ lastUpdateTime, lastTransitionTime }) => [lastUpdateTime, lastTransitionTime])
  const latest = Math.max(...times.map(time => Date.parse(time)))
  return Number.isFinite(latest) ? new Date(latest) : undefined
}
