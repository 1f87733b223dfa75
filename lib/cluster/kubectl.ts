import { dirname, join } from 'node:path'
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

/** The object of that kind and name among objects. */
export function findObject(
  objects: readonly KubeObject[],
  namespace: string,
  kind: string,
  name: string,
): KubeObject | undefined {
  return objects.find(
    object => object.kind === kind && object.metadata.name === name && object.metadata.namespace === namespace,
  )
}

/** `Deployment macula/console` */
export function identityOf({ kind, metadata }: KubeObject): string {
  return `${kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`
}

/** The objects in what kubectl prints as JSON. */
export function objectsIn(json: string): KubeObject[] {
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
