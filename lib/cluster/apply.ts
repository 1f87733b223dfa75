import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Platform } from '../platform/platform.ts'
import { hashOf, writeIfChanged } from '../platform/render.ts'
import { PlatformError } from '../system/errors.ts'
import { type Cluster, clusterFolder, clusterOf } from './cluster.ts'
import { getObjects, identityOf, type KubeObject, kubectlOn, objectsIn } from './kubectl.ts'

/** What an apply did to one object. */
export interface Applied {
  object: KubeObject
  outcome: 'unchanged' | 'created' | 'updated'
}

/** What kubectl can apply. */
export interface Manifests {
  /** Of the record that is kept of them. */
  name: string
  /** How kubectl is told of them: `-k FOLDER`, or `-f -` with `input`. */
  args: readonly string[]
  input?: string
  /** Hash over everything they are made of. */
  source: string
}

/** What was applied last, so that nothing has to be applied where the cluster still has it. */
interface AppliedRecord {
  /** `Deployment macula/console` */
  objects: string[]
  /** Over the context, the manifests' source, and what the objects said right after they were applied. */
  hash: string
}

/**
 * Has the cluster what the manifests say, and tells what that did to each object. Applies nothing where they are those of the last time and the
 * cluster has each object as it was left then, which costs one look. `found` is what a look that has been taken already found; namespaces need not be
 * in it. What is applied needs `ready`, which is waited for first. Throws with the server's words where it does not accept a manifest.
 */
export async function ensureApplied(
  platform: Platform,
  { name, args, input, source }: Manifests,
  found?: readonly KubeObject[],
  ready?: Promise<unknown>,
): Promise<Applied[]> {
  const cluster = clusterOf(platform)
  const file = join(recordsFolder(platform), `${name}.json`)
  const options = input === undefined ? {} : { input }
  const before = found ?? (await getObjects(cluster, args, options))
  const record = await readRecord(file)
  const same = before.filter(object => record?.objects.includes(identityOf(object)))
  if (record !== undefined && isDeepStrictEqual(record, recordOf(cluster, source, same)))
    return same.map(object => ({ object, outcome: 'unchanged' }))
  await ready
  const changes = await applied(cluster, before, args, input)
  const objects = changes.map(({ object }) => object).filter(({ kind }) => found === undefined || kind !== 'Namespace')
  await writeIfChanged(file, JSON.stringify(recordOf(cluster, source, objects)))
  return changes
}

/** Applies manifests (YAML or JSON text), and tells what that did to each object. */
export async function applyManifests(cluster: Cluster, input: string): Promise<Applied[]> {
  const args = ['-f', '-']
  return applied(cluster, await getObjects(cluster, args, { input }), args, input)
}

/** The server checks every field, and kubectl need not fetch the whole schema to check them, too. */
const serverSide = [
  ...['--server-side', '--field-manager', 'macula', '--force-conflicts', '--validate=false'],
  ...['-o', 'json'],
]

/** By what the objects said before and what they say afterwards, leaving out what the server and its controllers say. */
async function applied(
  cluster: Cluster,
  before: readonly KubeObject[],
  args: readonly string[],
  input?: string,
): Promise<Applied[]> {
  const kubectl = kubectlOn(cluster, input === undefined ? {} : { input })
  const { stdout } = await kubectl`apply ${serverSide} ${args}`.catch((error: PlatformError) => {
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

/** Annotations that controllers write on what they look after. */
const controllersOwn = 'deployment.kubernetes.io/'

/** An object without its status, and without the bookkeeping of the server and its controllers, which goes on by itself. */
export function intentOf({ status: _status, metadata, ...object }: KubeObject): object {
  const { name, namespace, labels, annotations = {} } = metadata
  const own = Object.entries(annotations).filter(([key]) => !key.startsWith(controllersOwn))
  return { ...object, metadata: { name, namespace, labels, annotations: Object.fromEntries(own) } }
}

function recordOf({ context }: Cluster, source: string, objects: readonly KubeObject[]): AppliedRecord {
  const sorted = objects.map(object => [identityOf(object), JSON.stringify(intentOf(object))] as const).sort()
  return {
    objects: sorted.map(([identity]) => identity),
    hash: hashOf(context, source, ...sorted.map(([, intent]) => intent)),
  }
}

/** Forgets what was applied to a cluster that is gone. */
export async function forgetApplied(platform: Platform): Promise<void> {
  await rm(recordsFolder(platform), { recursive: true, force: true })
}

function recordsFolder(platform: Platform): string {
  return join(clusterFolder(platform), 'applied')
}

async function readRecord(file: string): Promise<AppliedRecord | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch {
    // none yet, or one that was cut off: then everything is applied
    return undefined
  }
}

/** One word for many objects. */
export function outcomeOf(applied: readonly Applied[]): 'unchanged' | 'created' | 'updated' {
  if (applied.every(({ outcome }) => outcome === 'unchanged')) return 'unchanged'
  return applied.every(({ outcome }) => outcome !== 'updated') && applied.some(({ outcome }) => outcome === 'created')
    ? 'created'
    : 'updated'
}

/** Objects as one text for kubectl. */
export function manifestText(objects: readonly KubeObject[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects })
}
