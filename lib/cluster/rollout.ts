import { setTimeout as pause } from 'node:timers/promises'
import { PlatformError } from '../system/errors.ts'
import { lastLines } from '../system/exec.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import { applicationsNamespace, type Cluster } from './cluster.ts'
import { getObjects, type KubeObject, kubectlHint, kubectlOn } from './kubectl.ts'

interface DeploymentStatus {
  observedGeneration?: number
  replicas?: number
  updatedReplicas?: number
  availableReplicas?: number
}

interface DaemonSetStatus {
  observedGeneration?: number
  desiredNumberScheduled?: number
  updatedNumberScheduled?: number
  numberAvailable?: number
}

interface ContainerStatus {
  name: string
  image: string
  restartCount: number
  state: { waiting?: { reason?: string; message?: string }; terminated?: { exitCode: number; reason?: string } }
  lastState?: { terminated?: { exitCode: number } }
}

/** Waiting for one of these does not help. ErrImagePull is not among them: the next attempt may succeed, and is called ImagePullBackOff if not. */
const hopeless = [
  'ImagePullBackOff',
  'InvalidImageName',
  'CrashLoopBackOff',
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
]
/** A placeholder is up in 3 s, an application that pulls a large base image from afar in a minute or two. */
const timeoutMs = 240_000

/** The Deployments and DaemonSets that have not yet replaced all their pods by available new ones. */
export function unfinishedRollouts(objects: readonly KubeObject[]): string[] {
  return objects
    .filter(object => !(object.kind === 'DaemonSet' ? isDaemonSetDone(object) : isDeploymentDone(object)))
    .map(({ metadata }) => metadata.name)
}

function isDeploymentDone({ metadata, spec, status }: KubeObject): boolean {
  const wanted = (spec as { replicas?: number }).replicas ?? 1
  const {
    observedGeneration = 0,
    replicas = 0,
    updatedReplicas = 0,
    availableReplicas = 0,
  } = (status ?? {}) as DeploymentStatus
  const settled = observedGeneration >= (metadata.generation ?? 0) && updatedReplicas >= wanted
  return settled && replicas <= updatedReplicas && availableReplicas >= updatedReplicas
}

function isDaemonSetDone({ metadata, status }: KubeObject): boolean {
  const {
    observedGeneration = 0,
    desiredNumberScheduled,
    updatedNumberScheduled = 0,
    numberAvailable = 0,
  } = (status ?? {}) as DaemonSetStatus
  // before it is observed for the first time, it does not know how many it wants
  if (desiredNumberScheduled === undefined || observedGeneration < (metadata.generation ?? 0)) return false
  return updatedNumberScheduled >= desiredNumberScheduled && numberAvailable >= desiredNumberScheduled
}

/** A container of a pod that waiting will not start, in words that name image and reason. */
export function troubleOf(pod: KubeObject): string | undefined {
  const { containerStatuses = [], initContainerStatuses = [] } = (pod.status ?? {}) as Record<string, ContainerStatus[]>
  for (const container of [...initContainerStatuses, ...containerStatuses]) {
    const { reason = '', message = '' } = container.state.waiting ?? {}
    if (!hopeless.includes(reason)) continue
    const exit = container.lastState?.terminated
    const ended = exit === undefined ? '' : ` (exit code ${exit.exitCode}, ${container.restartCount} restarts)`
    const image = imageIn(pod, container)
    const registry = reason.includes('Image') ? ` from registry ${image.split('/')[0]}` : ''
    return `pod ${pod.metadata.name}: ${reason}: ${image}${registry}${ended}${message === '' ? '' : `\n${message}`}`
  }
  return undefined
}

// before an image is there, the status has no name for it
function imageIn(pod: KubeObject, container: ContainerStatus): string {
  const { containers } = pod.spec as { containers: { name: string; image: string }[] }
  return containers.find(({ name }) => name === container.name)?.image ?? container.image
}

/**
 * Waits until these deployments run nothing but available pods of their newest version. Throws as soon as a new pod cannot come up, with the reason,
 * its events and its last output; or when nothing happens for four minutes.
 */
export async function waitForRollout(
  cluster: Cluster,
  namespace: string,
  names: readonly string[],
  report: (waiting: readonly string[]) => void = () => {},
): Promise<void> {
  let waiting = names
  report(waiting)
  await untilRolledOut(cluster, async () => {
    const resources = waiting.map(name => `deployment/${name}`)
    if (await rolledOut(cluster, namespace, resources)) return undefined
    const objects = await getObjects(cluster, ['--namespace', namespace, 'deployments,replicasets,pods'])
    waiting = names.filter(name => !finishedIn(objects, name))
    report(waiting)
    return { waiting, pods: waiting.flatMap(name => newestPods(name, objects).map(pod => ({ name, pod }))) }
  })
}

/** Waits until each node has an available pod of a DaemonSet's newest version. Throws as `waitForRollout` does. */
export async function waitForDaemonSet(cluster: Cluster, namespace: string, name: string): Promise<void> {
  await untilRolledOut(cluster, async () => {
    if (await rolledOut(cluster, namespace, [`daemonset/${name}`])) return undefined
    const objects = await getObjects(cluster, ['--namespace', namespace, 'pods'])
    const pods = objects.filter(pod => ownedBy(pod, 'DaemonSet', name) && pod.metadata.deletionTimestamp === undefined)
    return { waiting: [name], pods: pods.map(pod => ({ name, pod })) }
  })
}

interface Unfinished {
  waiting: readonly string[]
  /** The newest ones of those, by the name of what they belong to. */
  pods: readonly { name: string; pod: KubeObject }[]
}

/** Looks until nothing is unfinished; throws as soon as a pod cannot come up, or when it takes too long. */
async function untilRolledOut(cluster: Cluster, look: () => Promise<Unfinished | undefined>): Promise<void> {
  let last: Unfinished = { waiting: [], pods: [] }
  const trouble = await waitFor(
    async () => {
      const seen = await look()
      if (seen === undefined) return undefined
      last = seen
      return seen.pods.find(({ pod }) => troubleOf(pod) !== undefined) ?? new NotYet(seen.waiting.join(', '))
    },
    {
      timeoutMs,
      pauseMs: 0, // kubectl watches for some seconds itself
      onTimeout: () =>
        rolloutError(cluster, last.waiting[0] ?? '', last.pods[0]?.pod, `not available after ${timeoutMs / 1000} s`),
    },
  )
  if (trouble !== undefined) throw await rolloutError(cluster, trouble.name, trouble.pod, troubleOf(trouble.pod) ?? '')
}

/** Watches the rollout of these (`deployment/NAME`) for some seconds: whether all are finished by then. After that somebody has to look for trouble. */
async function rolledOut(cluster: Cluster, namespace: string, resources: readonly string[]): Promise<boolean> {
  const kubectl = kubectlOn(cluster, { nothrow: true })
  const results = await Promise.all(
    resources.map(resource => kubectl`rollout status --namespace ${namespace} --timeout 4s ${resource}`),
  )
  // kubectl would answer at once for one that does not exist, again and again
  if (results.some(({ stderr }) => stderr.includes('not found'))) await pause(500)
  return results.every(({ exitCode }) => exitCode === 0)
}

function finishedIn(objects: readonly KubeObject[], name: string): boolean {
  const own = objects.filter(({ kind, metadata }) => kind === 'Deployment' && metadata.name === name)
  return own.length > 0 && unfinishedRollouts(own).length === 0
}

/** Pods of a deployment's newest version, by the way Kubernetes links them: deployment → replica set of the highest revision → pods. */
function newestPods(deployment: string, objects: readonly KubeObject[]): KubeObject[] {
  const revision = (set: KubeObject) => Number(set.metadata.annotations?.['deployment.kubernetes.io/revision'] ?? 0)
  const sets = objects.filter(object => object.kind === 'ReplicaSet' && ownedBy(object, 'Deployment', deployment))
  const newest = sets.sort((one, other) => revision(other) - revision(one))[0]
  return objects.filter(
    object => object.kind === 'Pod' && newest && ownedBy(object, 'ReplicaSet', newest.metadata.name),
  )
}

function ownedBy(object: KubeObject, kind: string, name: string): boolean {
  const { ownerReferences = [] } = object.metadata as { ownerReferences?: { kind: string; name: string }[] }
  return ownerReferences.some(owner => owner.kind === kind && owner.name === name)
}

async function rolloutError(
  cluster: Cluster,
  name: string,
  pod: KubeObject | undefined,
  what: string,
): Promise<PlatformError> {
  const [events, words] =
    pod === undefined ? ['', ''] : [await eventsOf(cluster, pod), await lastOutputOf(cluster, pod)]
  const namespace = pod?.metadata.namespace ?? ''
  return new PlatformError(`${name} does not start`, {
    why: [what, events && `Events:\n${events}`, words && `Its last output:\n${words}`].filter(Boolean).join('\n'),
    hint:
      /Image/.test(what) && namespace === applicationsNamespace
        ? 'task build-and-push   # then task deploy-apps'
        : `${kubectlHint(cluster)} --namespace ${namespace} logs --selector app.kubernetes.io/name=${name}`,
  })
}

async function eventsOf(cluster: Cluster, pod: KubeObject): Promise<string> {
  const { name, namespace = '' } = pod.metadata
  const selector = `involvedObject.name=${name}`
  const events = await getObjects(cluster, ['events', '--namespace', namespace, '--field-selector', selector])
  return events
    .map(({ reason, message }) => `${reason}: ${message}`)
    .slice(-5)
    .join('\n')
}

async function lastOutputOf(cluster: Cluster, pod: KubeObject): Promise<string> {
  const { name, namespace = '' } = pod.metadata
  const kubectl = kubectlOn(cluster, { nothrow: true })
  const previous = await kubectl`logs ${name} --namespace ${namespace} --tail 10 --previous`
  const result = previous.exitCode === 0 ? previous : await kubectl`logs ${name} --namespace ${namespace} --tail 10`
  return result.exitCode === 0 ? lastLines(result.stdout, 10) : ''
}
