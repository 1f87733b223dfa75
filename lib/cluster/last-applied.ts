import { hashOf } from '../platform/render.ts'
import { identityOf, type KubeObject } from './kubectl.ts'

/** What an object was made from: tells, together with the object itself, that applying it again would change nothing. */
const mark = 'macula.applied'

/** The object with a hash of itself among its annotations. */
export function marked(object: KubeObject): KubeObject {
  const { metadata } = object
  return {
    ...object,
    metadata: { ...metadata, annotations: { ...metadata.annotations, [mark]: hashOf(JSON.stringify(object)) } },
  }
}

/**
 * Whether a marked object is among those of the cluster just as it is. The hash tells that nothing has been taken out of it since, the comparison
 * of all its fields that nobody has changed it in the cluster. A value that the server writes in another way (`0.1` as `100m`) counts as another.
 */
export function isAsMarked(object: KubeObject, live: readonly KubeObject[]): boolean {
  const found = live.find(other => identityOf(other) === identityOf(object))
  return found !== undefined && holds(found, object)
}

function holds(all: unknown, part: unknown): boolean {
  if (typeof part !== 'object' || part === null) return all === part
  if (typeof all !== 'object' || all === null) return false
  if (Array.isArray(part) && part.length !== (all as unknown[]).length) return false
  return Object.entries(part).every(([key, value]) => holds((all as Record<string, unknown>)[key], value))
}
