import { PlatformError } from '../system/errors.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import type { Cluster } from './cluster.ts'
import { findObject, getObjects, type KubeObject } from './kubectl.ts'
import type { ClusterNode } from './nodes.ts'

/** The lease of the controllers' predecessor ends after 15 s; the rest is for a machine that is busy. */
const timeoutMs = 120_000

interface Endpoint {
  addresses: string[]
  targetRef?: { kind: string; name: string; namespace: string }
}

/** Endpoints of Services that have another address than their pod: `macula/peer1-abc: 10.244.0.3, the pod has 10.244.0.7`. */
export function staleEndpoints(objects: readonly KubeObject[]): string[] {
  const addresses = new Map(
    objects
      .filter(({ kind }) => kind === 'Pod')
      .map(({ metadata, status }) => [
        `${metadata.namespace}/${metadata.name}`,
        (status as { podIP?: string } | undefined)?.podIP,
      ]),
  )
  return objects
    .filter(({ kind }) => kind === 'EndpointSlice')
    .flatMap(slice => (slice.endpoints ?? []) as Endpoint[])
    .flatMap(({ addresses: [address = ''], targetRef }) => {
      if (targetRef?.kind !== 'Pod') return []
      const pod = `${targetRef.namespace}/${targetRef.name}`
      const own = addresses.get(pod) ?? 'none'
      return own === address ? [] : [`${pod}: ${address}, the pod has ${own}`]
    })
}

/**
 * Why a cluster that was started cannot be used yet; undefined where it can. Every node has to be Ready, and Services have to forward to their own pods
 * again. Pods get new addresses at a start, which may have been another pod's before; until the new controllers have taken over, a Service may forward to a
 * pod of another application, whose answer would look like a good one.
 */
export function unsettled(objects: readonly KubeObject[], started: Date): string | undefined {
  const notReady = objects
    .filter(object => object.kind === 'Node' && !isReady(object))
    .map(({ metadata }) => metadata.name)
  if (notReady.length > 0) return `not ready: ${notReady.join(', ')}`
  const lease = findObject(objects, 'kube-system', 'Lease', 'kube-controller-manager')
  const acquired = Date.parse((lease?.spec as { acquireTime?: string } | undefined)?.acquireTime ?? '')
  // no comparison with NaN is true: a lease that is not there yet counts as an old one
  if (!(acquired > started.getTime())) return "Kubernetes's controllers have not taken over from those before the start"
  const stale = staleEndpoints(objects)
  return stale.length === 0 ? undefined : stale.join('\n')
}

function isReady({ status }: KubeObject): boolean {
  const { conditions = [] } = (status ?? {}) as { conditions?: { type: string; status: string }[] }
  return conditions.some(({ type, status }) => type === 'Ready' && status === 'True')
}

/** One look at all that a cluster that is there is set up by: it costs as much as one at a single object. */
export function lookAtCluster(cluster: Cluster): Promise<KubeObject[]> {
  return getObjects(cluster, ['nodes,leases,pods,endpointslices,services,configmaps', '--all-namespaces'])
}

/** Waits until nothing is unsettled any more after the start of this node. */
export async function waitForEndpoints(cluster: Cluster, { name, started }: ClusterNode): Promise<void> {
  await waitFor(
    async () => {
      const why = unsettled(await lookAtCluster(cluster), started)
      return why === undefined || new NotYet(why)
    },
    {
      timeoutMs,
      pauseMs: 500,
      onTimeout: last =>
        new PlatformError(`${cluster.name} has started, but its Services do not forward to their pods`, {
          why: last,
          hint: `docker exec ${name} crictl ps`,
        }),
    },
  )
}
