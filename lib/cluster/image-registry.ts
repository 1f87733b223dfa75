import type { Platform } from '../platform/platform.ts'
import { buildEnvironment } from '../stack/compose.ts'
import { pushImage } from '../stack/image-store.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import { $ } from '../system/exec.ts'
import { type HttpResponse, http } from '../system/http.ts'
import { registryHost } from './cluster.ts'

const manifestTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ')

/** Throws unless the registry that images are pushed to answers. */
export async function requireRegistry(platform: Platform): Promise<void> {
  const { CLUSTER, REGISTRY } = platform.settings
  if (CLUSTER === 'existing') {
    if (REGISTRY) return
    throw new PlatformError('An existing cluster needs a registry that it and this machine can reach', {
      hint: 'Set REGISTRY in .env to host/prefix, like registry.example.com/macula',
    })
  }
  const { status } = await requestRegistry(platform, 'GET', '/v2/')
  if (status === 200) return
  throw new PlatformError(`The registry answers with status ${status} at ${ownUrl(platform)}/v2/`, {
    hint: 'task logs -- registry',
  })
}

/** Digest of an image in its registry, by tag or by digest; undefined where the registry does not have it. */
export async function digestOf(platform: Platform, repository: string, tag: string): Promise<string | undefined> {
  const path = ownPath(platform, repository)
  if (path === undefined) {
    // as JSON: any other template that begins with .Manifest is answered with a page for people
    const docker = $({ nothrow: true, env: buildEnvironment(platform.paths) })
    const image = `${repository}${tag.includes(':') ? '@' : ':'}${tag}`
    const { exitCode, stdout } = await docker`docker buildx imagetools inspect --format '{{json .Manifest}}' ${image}`
    return exitCode === 0 ? (JSON.parse(stdout) as { digest: string }).digest : undefined
  }
  const { status, headers } = await requestRegistry(platform, 'HEAD', `/v2/${path}/manifests/${tag}`)
  const digest = headers['docker-content-digest']
  return status === 200 && typeof digest === 'string' ? digest : undefined
}

/** Pushes an image of the engine to the registry in its name. Throws with the registry's words. */
export async function push(image: string): Promise<void> {
  const problem = await pushImage(image)
  if (problem === undefined) return
  const isLocal = image.startsWith('localhost:') || image.startsWith('127.')
  throw new PlatformError(`${image} could not be pushed`, {
    why: problem,
    hint: isLocal ? 'task start-infrastructure   # starts the registry' : 'docker login',
  })
}

/** Gives an image that was just pushed a second tag in its registry; no layer of it is sent again. */
export async function tagInRegistry(platform: Platform, repository: string, tag: string, added: string): Promise<void> {
  const path = ownPath(platform, repository)
  if (path === undefined) {
    await $`docker tag ${repository}:${tag} ${repository}:${added}`
    await push(`${repository}:${added}`)
    return
  }
  const manifest = await requestRegistry(platform, 'GET', `/v2/${path}/manifests/${tag}`)
  const { status, body } = await requestRegistry(platform, 'PUT', `/v2/${path}/manifests/${added}`, {
    type: manifest.headers['content-type'] ?? '',
    body: manifest.body,
  })
  if (status !== 201)
    throw new PlatformError(`The registry refused the tag ${added} of ${repository}: status ${status}`, {
      why: body.trim(),
      hint: 'task logs -- registry',
    })
}

/** What a tag looks like that names an image by its content, as `buildAndPush` gives it. */
const contentTag = /^[0-9a-f]{16}$/

/**
 * Deletes the oldest images of a repository, so that `kept` of those that are tagged with a name of their content are left; by when they were
 * built. All other tags are people's, one that only looks like a name of the content too: an image that has such a tag stays, and so does one whose age is
 * not known. Their layers take space until the registry's garbage is
 * collected. Does nothing in a registry of somebody else's. Returns the tags that are gone.
 */
export async function removeOldImages(platform: Platform, repository: string, kept: number): Promise<string[]> {
  const path = ownPath(platform, repository)
  if (path === undefined) return []
  const { body, status } = await requestRegistry(platform, 'GET', `/v2/${path}/tags/list`)
  const tags = status === 200 ? ((JSON.parse(body) as { tags: string[] | null }).tags ?? []) : []
  if (tags.filter(tag => contentTag.test(tag)).length <= kept) return []
  const images = await Promise.all(tags.map(async tag => ({ tag, ...(await imageOf(platform, path, tag)) })))
  const named = new Set(images.filter(({ isOurs }) => !isOurs).map(({ digest }) => digest))
  const ours = images.filter(({ isOurs }) => isOurs)
  const newestFirst = ours.sort((one, other) => (other.built ?? Infinity) - (one.built ?? Infinity))
  const removed: string[] = []
  for (const { tag, digest, built } of newestFirst.slice(kept)) {
    if (digest === undefined || built === undefined || named.has(digest)) continue
    await requestRegistry(platform, 'DELETE', `/v2/${path}/manifests/${digest}`)
    removed.push(tag)
  }
  return removed
}

interface TaggedImage {
  digest: string | undefined
  /** When, in milliseconds. */
  built: number | undefined
  /** Its tag is the name of its content: the beginning of the image's id, which is the digest of its configuration or of its manifest, by the engine. */
  isOurs: boolean
}

/** What a tag names; without digest and age where its manifest is a list, or says nothing of that. */
async function imageOf(platform: Platform, path: string, tag: string): Promise<TaggedImage> {
  const { headers, body } = await requestRegistry(platform, 'GET', `/v2/${path}/manifests/${tag}`)
  const digest = headers['docker-content-digest']
  const { config } = JSON.parse(body) as { config?: { digest: string } }
  if (typeof digest !== 'string' || config === undefined) return { digest: undefined, built: undefined, isOurs: false }
  const isOurs = contentTag.test(tag) && [digest, config.digest].some(id => id.startsWith(`sha256:${tag}`))
  const blob = await requestRegistry(platform, 'GET', `/v2/${path}/blobs/${config.digest}`)
  const { created } = JSON.parse(blob.body) as { created?: string }
  const built = Date.parse(created ?? '')
  return { digest, built: Number.isNaN(built) ? undefined : built, isOurs }
}

/** Path of a repository in the registry of our own; undefined for one of somebody else's, which may want a login that Docker knows and we do not. */
function ownPath({ settings }: Platform, repository: string): string | undefined {
  const own = `${registryHost(settings)}/`
  return repository.startsWith(own) ? repository.slice(own.length) : undefined
}

async function requestRegistry(
  platform: Platform,
  method: string,
  path: string,
  content?: { type: string; body: string },
): Promise<HttpResponse> {
  const answer = await http(`${ownUrl(platform)}${path}`, {
    ip: platform.loopback,
    method,
    headers: { accept: manifestTypes, ...(content ? { 'content-type': content.type } : {}) },
    ...(content ? { body: content.body } : {}),
  }).catch(error => {
    throw registryDown(platform, messageOf(error))
  })
  // what the gateway says in the place of a registry that is stopped
  if ([502, 503, 504].includes(answer.status))
    throw registryDown(platform, `The gateway answers in its place, with status ${answer.status}`)
  return answer
}

function registryDown(platform: Platform, why: string): PlatformError {
  return new PlatformError(`The registry does not answer at ${ownUrl(platform)}`, {
    why,
    hint: 'task start-infrastructure',
  })
}

function ownUrl({ settings }: Platform): string {
  return `http://${settings.MACULA_LOOPBACK}:${settings.REGISTRY_PORT}`
}
