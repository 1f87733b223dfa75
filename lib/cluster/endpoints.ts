import { PlatformError } from '../system/errors.ts'
import { $ } from '../system/exec.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import type { Cluster } from './cluster.ts'
import { getObject, getObjects, type KubeObject } from './kubectl.ts'
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
 * Waits until Services forward to their own pods again after a start of the nodes. Pods get new addresses then, which may have been another pod's
 * before; until the new controllers have taken over, a Service may forward to a pod of another application, whose answer would look like a good one.
 */
export async function waitForEndpoints(cluster: Cluster, [node]: readonly ClusterNode[]): Promise<void> {
  const startedAt = await $`docker inspect --format '{{.State.StartedAt}}' ${node?.name ?? ''}`.text()
  // a line's end makes it no date
  const started = Date.parse(startedAt.trim())
  await waitFor(
    async () => {
      const lease = await getObject(cluster, 'kube-system', 'lease', 'kube-controller-manager')
      const acquired = Date.parse((lease?.spec as { acquireTime?: string } | undefined)?.acquireTime ?? '')
      // no comparison with NaN is true: a lease that is not there yet counts as an old one
      if (!(acquired > started))
        return new NotYet("Kubernetes's controllers have not taken over from those before the start")
      const stale = staleEndpoints(await getObjects(cluster, ['pods,endpointslices', '--all-namespaces']))
      return stale.length === 0 || new NotYet(stale.join('\n'))
    },
    {
      timeoutMs,
      pauseMs: 500,
      onTimeout: last =>
        new PlatformError(`${cluster.name} has started, but its Services do not forward to their pods`, {
          why: last,
          hint: `docker exec ${node?.name} crictl ps`,
        }),
    },
  )
}
