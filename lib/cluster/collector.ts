import type { Platform } from '../platform/platform.ts'
import { PlatformError } from '../system/errors.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import { applicationsNamespace, type Cluster, clusterOf, collectorNamespace } from './cluster.ts'
import { type Applied, applied, getObjects, type KubeObject, kubectlHint, kubectlOn, serverSide } from './kubectl.ts'
import { type Overlay, renamedImage, writeOverlay } from './kustomize.ts'
import { waitForDaemonSet, waitForRollout } from './rollout.ts'

/** The image as the manifests name it. */
const templateImage = 'otel/opentelemetry-collector-contrib'
/** Kinds of the manifests that belong to no namespace, and would outlive one. */
const clusterWide = ['Namespace', 'ClusterRole', 'ClusterRoleBinding']
/** Kubernetes ends pods and removes a namespace within seconds. */
const removalMs = 60_000

/**
 * The image of the collectors in the cluster: that of the platform's own. Undefined where there are none: on a cluster that is not ours, where
 * nothing but the applications' namespace is touched, and without the platform's collector.
 */
export function collectorImage(platform: Platform): string | undefined {
  if (platform.settings.CLUSTER !== 'kind') return undefined
  return platform.services.find(({ name }) => name === 'collector')?.image
}

/** The collectors, as a kustomization. They belong to the applications' namespace: Kubernetes removes all of it together with that. */
export function collectorOverlay(platform: Platform, image: string, { metadata }: KubeObject): Overlay {
  const owner = { apiVersion: 'v1', kind: 'Namespace', name: metadata.name, uid: metadata.uid }
  return {
    name: 'collector',
    resources: ['cluster-collector'],
    images: renamedImage(templateImage, image),
    literals: { MACULA_DOMAIN: platform.domain },
    literalsNamespace: collectorNamespace,
    patches: clusterWide.map(kind => ({
      target: { kind },
      operations: [{ op: 'add', path: '/metadata/ownerReferences', value: [owner] }],
    })),
  }
}

/** Applies the collectors beside applications that are there. What an earlier removal has not finished yet is waited for. */
export async function applyCollector(platform: Platform, image: string): Promise<Applied[]> {
  const cluster = clusterOf(platform)
  await untilRemoved(cluster)
  const [owner] = await getObjects(cluster, ['namespace', applicationsNamespace])
  if (owner === undefined)
    throw new PlatformError(`There is no namespace ${applicationsNamespace} in the cluster`, {
      hint: 'task deploy-apps',
    })
  const overlay = await writeOverlay(platform, collectorOverlay(platform, image, owner))
  const before = await getObjects(cluster, ['-k', overlay])
  return applied(cluster, before, kubectlOn(cluster)`apply ${serverSide} -k ${overlay}`)
}

/** Waits until the collectors run, one on each node and the one for the cluster. */
export async function waitForCollector(platform: Platform): Promise<void> {
  const cluster = clusterOf(platform)
  await Promise.all([
    waitForDaemonSet(cluster, collectorNamespace, 'collector-node'),
    waitForRollout(cluster, collectorNamespace, ['collector-cluster']),
  ])
}

async function untilRemoved(cluster: Cluster): Promise<void> {
  await waitFor(
    async () => {
      const [namespace] = await getObjects(cluster, ['namespace', collectorNamespace])
      return namespace?.metadata.deletionTimestamp === undefined || new NotYet('it is still there')
    },
    {
      timeoutMs: removalMs,
      pauseMs: 500,
      onTimeout: last =>
        new PlatformError(`Kubernetes does not finish removing the namespace ${collectorNamespace}`, {
          why: last,
          hint: `${kubectlHint(cluster)} describe namespace ${collectorNamespace}`,
        }),
    },
  )
}
