import { dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { ProcessOutput } from 'zx/core'
import { PlatformError } from '../system/errors.ts'
import { $, type CommandOptions, failureOf, lastLines, type Result } from '../system/exec.ts'
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
    deletionTimestamp?: string
  }
  [key: string]: unknown
}

/** What every apply of ours is given: the server checks every field, and kubectl need not fetch the whole schema to check them, too. */
export const serverSide = [
  ...['--server-side', '--field-manager', 'macula', '--force-conflicts', '--validate=false'],
  ...['-o', 'json'],
]

/** How kubectl is run on one cluster: a template, as `$` is, without the word kubectl. */
export type Kubectl = (pieces: TemplateStringsArray, ...values: unknown[]) => Promise<ProcessOutput>

/**
 * kubectl for this cluster, always with an explicit context, and an explicit file where the file is ours:
 * `` await kubectlOn(cluster)`get nodes` ``. Throws with kubectl's own words, and with what to do where the cluster could not be reached.
 */
export function kubectlOn(cluster: Cluster, options: CommandOptions = {}): Kubectl {
  const shell = $({ ...options, nothrow: true, env: { ...kubectlEnvironment(cluster), ...options.env } })
  return async ([first = '', ...rest], ...values) => {
    // a template, as the compiler would make it
    const pieces = ['kubectl ', ` ${first}`, ...rest]
    const command = shell(Object.assign(pieces, { raw: pieces }), connectionArgs(cluster), ...values)
    const output = await command
    if (output.exitCode === 0) return output
    const unreachable = unreachableError(cluster, output)
    if (unreachable) throw unreachable
    if (options.nothrow) return output
    throw failureOf(command.cmd, output)
  }
}

function connectionArgs({ kubeconfig, context }: Cluster): string[] {
  return [...(kubeconfig === undefined ? [] : ['--kubeconfig', kubeconfig]), '--context', context]
}

/** A kubectl call as a person would type it, up to what it should do. */
export function kubectlHint({ kubectl, kubeconfig, context }: Cluster): string {
  return `${kubectl}${kubeconfig === undefined ? '' : ` --kubeconfig ${kubeconfig}`} --context ${context}`
}

/** Variables for kubectl: what it caches of our cluster goes with the cluster, and not to the home of the user. */
function kubectlEnvironment({ kubeconfig }: Cluster): Record<string, string> {
  return kubeconfig === undefined ? {} : { KUBECACHEDIR: join(dirname(kubeconfig), 'cluster', 'kubectl') }
}

/** The objects that `kubectl get` with these args finds, whether it prints one or a list; missing ones are left out. */
export async function getObjects(
  cluster: Cluster,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<KubeObject[]> {
  const { stdout } = await kubectlOn(cluster, options)`get ${args} --ignore-not-found -o json`
  return objectsIn(stdout)
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

/** Applies manifests (YAML or JSON text), and tells what that did to each object. */
export async function applyManifests(cluster: Cluster, manifests: string): Promise<Applied[]> {
  const before = await getObjects(cluster, ['-f', '-'], { input: manifests })
  return applied(cluster, before, kubectlOn(cluster, { input: manifests })`apply ${serverSide} -f -`)
}

/**
 * What a running `apply` with the args of `serverSide` does to each object: by what the objects said before and what they say afterwards, leaving
 * out what the server and its controllers say. Throws with the server's words where it does not accept a manifest.
 */
export async function applied(
  cluster: Cluster,
  before: readonly KubeObject[],
  apply: Promise<ProcessOutput>,
): Promise<Applied[]> {
  const { stdout } = await apply.catch((error: PlatformError) => {
    // the cluster could not be reached, and the error says what to do about it
    if (error.hint !== undefined) throw error
    throw new PlatformError(`${cluster.context} did not accept the manifests`, {
      why: error.why,
      hint: 'Correct the manifest that is named, then run this again; nothing has to be undone',
    })
  })
  const previous = new Map(before.map(object => [identityOf(object), object]))
  return objectsIn(stdout).map(object => {
    const found = previous.get(identityOf(object))
    if (found === undefined) return { object, outcome: 'created' }
    return { object, outcome: isDeepStrictEqual(intentOf(found), intentOf(object)) ? 'unchanged' : 'updated' }
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
