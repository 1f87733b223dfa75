import type { Platform } from '../platform/platform.ts'
import { PlatformError } from '../system/errors.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import { type Applied, ensureApplied } from './apply.ts'
import { applicationsNamespace, type Cluster, clusterOf, collectorNamespace } from './cluster.ts'
import { getObjects, type KubeObject, kubectlHint } from './kubectl.ts'
import { type Overlay, renamedImage, writeOverlay } from './kustomize.ts'
import { unfinishedRollouts, waitForDaemonSet, waitForRollout } from './rollout.ts'

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

/**
 * Applies the collectors' manifests, once the nodes have their image (`copied`) and Kubernetes has finished an earlier removal. `seen` are the
 * cluster's namespaces as a look a moment ago found them. Throws where the applications' namespace does not exist.
 */
export async function applyCollector(
  platform: Platform,
  image: string,
  copied: Promise<unknown>,
  seen?: readonly KubeObject[],
): Promise<Applied[]> {
  const owner = await ownerOnceRemoved(clusterOf(platform), seen)
  const overlay = await writeOverlay(platform, collectorOverlay(platform, image, owner))
  return ensureApplied(platform, overlay, undefined, copied)
}

/** Waits until the collectors run, one on each node and the one for the cluster. `objects` are theirs, as they were applied. */
export async function waitForCollector(platform: Platform, objects: readonly KubeObject[]): Promise<void> {
  const cluster = clusterOf(platform)
  const rolling = (kind: string) => unfinishedRollouts(objects.filter(object => object.kind === kind))
  await Promise.all([
    ...rolling('DaemonSet').map(name => waitForDaemonSet(cluster, collectorNamespace, name)),
    ...rolling('Deployment').map(name => waitForRollout(cluster, collectorNamespace, [name])),
  ])
}

/** The applications' namespace, to which the collectors belong. Waits while Kubernetes still removes the namespace of earlier collectors. */
async function ownerOnceRemoved(cluster: Cluster, seen?: readonly KubeObject[]): Promise<KubeObject> {
  let last = seen
  const found = await waitFor(
    async () => {
      const namespaces = last ?? (await getObjects(cluster, ['namespace', applicationsNamespace, collectorNamespace]))
      last = undefined
      const isBeingRemoved = namespaces.some(
        ({ metadata }) => metadata.name === collectorNamespace && metadata.deletionTimestamp !== undefined,
      )
      return isBeingRemoved ? new NotYet('it is still there') : namespaces
    },
    {
      timeoutMs: removalMs,
      pauseMs: 500,
      onTimeout: why =>
        new PlatformError(`Kubernetes does not finish removing the namespace ${collectorNamespace}`, {
          why,
          hint: `${kubectlHint(cluster)} describe namespace ${collectorNamespace}`,
        }),
    },
  )
  const owner = found.find(({ metadata }) => metadata.name === applicationsNamespace)
  if (owner !== undefined) return owner
  throw new PlatformError(`There is no namespace ${applicationsNamespace} in the cluster`, { hint: 'task deploy-apps' })
}
