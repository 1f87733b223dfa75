import { dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { PlatformError } from '../system/errors.ts'
import { ask, failure, lastLines, type Result, type RunOptions } from '../system/exec.ts'
import type { Cluster } from './cluster.ts'

/** The parts of a Kubernetes object that every kind of object has. */
export interface KubeObject {
  apiVersion: string
  kind: string
  metadata: {
    name: string
    namespace?: string
    labels?: Record<string, string>
    annotations?: Record<string, string>
    resourceVersion?: string
    generation?: number
    uid?: string
    creationTimestamp?: string
  }
  [key: string]: unknown
}

/** Owner of the fields we set with server-side apply. */
const fieldManager = 'macula'

/** The command line for this cluster: always an explicit context, always an explicit file where the file is ours. */
export function kubectlCommand(cluster: Cluster, words: readonly string[]): string[] {
  return [
    'kubectl',
    ...(cluster.kubeconfig === undefined ? [] : ['--kubeconfig', cluster.kubeconfig]),
    ...['--context', cluster.context],
    ...words,
  ]
}

/** A kubectl call as a person would type it, up to what it should do. */
export function kubectlHint({ kubectl, kubeconfig, context }: Cluster): string {
  return `${kubectl}${kubeconfig === undefined ? '' : ` --kubeconfig ${kubeconfig}`} --context ${context}`
}

/** Variables for kubectl: what it remembers of our cluster goes with the cluster, and not to the home of the user. */
export function kubectlEnvironment({ kubeconfig }: Cluster): Record<string, string> {
  return kubeconfig === undefined ? {} : { KUBECACHEDIR: join(dirname(kubeconfig), 'cluster', 'kubectl') }
}

/** Runs kubectl for an answer that may be no. Throws when the cluster could not be asked at all. */
export async function askKubectl(
  cluster: Cluster,
  words: readonly string[],
  options: RunOptions = {},
): Promise<Result> {
  const env = { ...kubectlEnvironment(cluster), ...options.env }
  const result = await ask(kubectlCommand(cluster, words), { ...options, env })
  if (result.exitCode !== 0) {
    const unreachable = unreachableError(cluster, result)
    if (unreachable) throw unreachable
  }
  return result
}

/** Runs kubectl; throws a PlatformError with its own words when it fails. */
export async function kubectl(cluster: Cluster, words: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await askKubectl(cluster, words, options)
  if (result.exitCode !== 0) throw failure(kubectlCommand(cluster, words), result)
  return result.stdout
}

/** The objects that `kubectl get` finds, whether it prints one or a list; missing ones are left out. */
export async function getObjects(
  cluster: Cluster,
  words: readonly string[],
  options: RunOptions = {},
): Promise<KubeObject[]> {
  return objectsIn(await kubectl(cluster, ['get', ...words, '--ignore-not-found', '-o', 'json'], options))
}

/** One object by kind and name, if it is there. */
export async function getObject(
  cluster: Cluster,
  namespace: string,
  kind: string,
  name: string,
): Promise<KubeObject | undefined> {
  return (await getObjects(cluster, ['--namespace', namespace, kind, name]))[0]
}

/** What an apply did to one object. */
export interface Applied {
  object: KubeObject
  outcome: 'unchanged' | 'created' | 'updated'
}

/**
 * Applies manifests (YAML or JSON text) on the server's side: it checks every field against its own schema, and fields that others own stay theirs.
 * Knows what has changed by what the objects said before and after, leaving out what the server and its controllers say; `live` spares asking
 * for the former.
 */
export async function applyManifests(
  cluster: Cluster,
  manifests: string,
  live?: readonly KubeObject[],
): Promise<Applied[]> {
  const found = live ?? (await getObjects(cluster, ['-f', '-'], { input: manifests }))
  const before = new Map(found.map(object => [identityOf(object), object]))
  // kubectl would fetch the whole schema to check the fields by itself, too
  const words = [
    ...['apply', '--server-side', '--field-manager', fieldManager, '--force-conflicts', '--validate=false'],
    ...['-f', '-', '-o', 'json'],
  ]
  const result = await askKubectl(cluster, words, { input: manifests })
  if (result.exitCode !== 0) {
    throw new PlatformError(`${cluster.context} did not accept the manifests`, {
      why: lastLines(result.stderr),
      hint: 'Correct the manifest that is named; nothing has to be undone, run this again afterwards',
    })
  }
  return objectsIn(result.stdout).map(object => {
    const previous = before.get(identityOf(object))
    if (previous === undefined) return { object, outcome: 'created' }
    return { object, outcome: isDeepStrictEqual(intentOf(previous), intentOf(object)) ? 'unchanged' : 'updated' }
  })
}

/** An object without its status, and without the bookkeeping of the server, which goes on by itself. */
function intentOf({ status: _status, metadata, ...object }: KubeObject): object {
  const { name, namespace, labels, annotations } = metadata
  return { ...object, metadata: { name, namespace, labels, annotations } }
}

/** Objects as one text for kubectl. */
export function manifestText(objects: readonly KubeObject[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects })
}

/** One word for many objects. */
export function outcomeOf(applied: readonly Applied[]): 'unchanged' | 'created' | 'updated' {
  if (applied.every(({ outcome }) => outcome === 'unchanged')) return 'unchanged'
  return applied.every(({ outcome }) => outcome !== 'updated') && applied.some(({ outcome }) => outcome === 'created')
    ? 'created'
    : 'updated'
}

/** `Deployment macula/console` */
export function identityOf({ kind, metadata }: KubeObject): string {
  return `${kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`
}

function objectsIn(json: string): KubeObject[] {
  if (json.trim() === '') return []
  // several objects come as one list, or as one document after another: both are kubectl's ways
  const documents = json.trim().startsWith('{') && json.includes('\n}\n{') ? json.split(/(?<=\n\})\n(?=\{)/) : [json]
  return documents.flatMap(document => {
    const parsed = JSON.parse(document) as KubeObject & { items?: KubeObject[] }
    return parsed.items ?? [parsed]
  })
}

function unreachableError(cluster: Cluster, { stderr }: Result): PlatformError | undefined {
  if (/context .* does not exist|no context exists|context was not found/i.test(stderr)) {
    return new PlatformError(`There is no context ${cluster.context} in ${cluster.kubeconfig ?? 'your kubeconfig'}`, {
      why: lastLines(stderr, 3),
      hint:
        cluster.kind === 'kind'
          ? 'task setup-cluster'
          : `${cluster.kubectl} config get-contexts   # then CLUSTER_CONTEXT in .env`,
    })
  }
  if (
    /connection to the server .* (was refused|lost)|Unable to connect to the server|connection refused|i\/o timeout|TLS handshake timeout|EOF$/m.test(
      stderr,
    )
  ) {
    return new PlatformError(`The cluster ${cluster.name} does not answer`, {
      why: lastLines(stderr, 3),
      hint: cluster.kind === 'kind' ? 'task start-cluster' : `${kubectlHint(cluster)} get nodes`,
    })
  }
  return undefined
}
