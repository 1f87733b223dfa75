import { PlatformError } from '../system/errors.ts'
import { run } from '../system/exec.ts'
import type { Cluster } from './cluster.ts'
import { getObject, getObjects, type KubeObject } from './kubectl.ts'
import type { ClusterNode } from './nodes.ts'

/** The lease of the controllers' predecessor ends after 15 s; the rest is for a machine that is busy. */
const deadlineMs = 120_000

interface Endpoint {
  addresses: string[]
  targetRef?: { kind: string; name: string; namespace: string }
}

/** Endpoints of Services that are not where their pod is: `macula/peer1-abc: 10.244.0.3, the pod has 10.244.0.7`. */
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
 * Waits until Services lead to their pods again after a start of the nodes. Pods get new addresses then, which may have been another pod's before; until
 * the new controllers are in charge, a Service may lead to a pod of another application, and an answer from it would look like a good one.
 */
export async function waitUntilSettled(cluster: Cluster, [node]: readonly ClusterNode[]): Promise<void> {
  const { stdout } = await run(['docker', 'inspect', '--format', '{{.State.StartedAt}}', node?.name ?? ''])
  const started = Date.parse(stdout.trim())
  const deadline = Date.now() + deadlineMs
  for (;;) {
    const lease = await getObject(cluster, 'kube-system', 'lease', 'kube-controller-manager')
    const acquired = Date.parse((lease?.spec as { acquireTime?: string } | undefined)?.acquireTime ?? '')
    const inCharge = acquired > started
    const stale = inCharge ? staleEndpoints(await getObjects(cluster, ['pods,endpointslices', '--all-namespaces'])) : []
    if (inCharge && stale.length === 0) return
    if (Date.now() > deadline)
      throw new PlatformError(`${cluster.name} has started, but its Services do not find their pods`, {
        why: inCharge ? stale.join('\n') : "Kubernetes's controllers have not taken over from those before the start",
        hint: `docker exec ${node?.name} crictl ps`,
      })
    await new Promise(resume => setTimeout(resume, 500))
  }
}
