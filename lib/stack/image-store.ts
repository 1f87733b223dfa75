import { cancelledBy } from '../system/cancel.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import { $, type CommandOptions, lastLines } from '../system/exec.ts'
import { stalledAfter } from '../system/stall.ts'
import { bytes } from '../system/text.ts'
import { answerOf } from './engine.ts'

/** Progress of the download of one image. */
interface PullProgress {
  image: string
  /** Bytes of the layers whose size is known so far. */
  current: number
  total: number
}

/** Which of these images the engine does not have, under their own names or those that images from files have. */
export async function missingImages(images: readonly string[]): Promise<string[]> {
  const missing = await unknownImages(images)
  const names = missing.map(nameFromFile)
  const unknown = await unknownImages(names.filter(name => name !== undefined))
  return missing.filter((_, index) => names[index] === undefined || unknown.includes(names[index]))
}

/**
 * The name of an image from a file that stands for one that is pinned by its digest: `traefik:v3@sha256:ab…` → `traefik:sha256-ab…`; undefined for an
 * image without a digest. An engine learns digests from registries alone, and refuses to be told one.
 */
export function nameFromFile(image: string): string | undefined {
  const [, repository, digest] = /^(.+?)(?::[^:/@]+)?@sha256:([0-9a-f]{64})$/.exec(image) ?? []
  return repository && `${repository}:sha256-${digest}`
}

/** What the engine calls this image: its own name, or where it has it from a file only, that one's. */
export async function nameInEngine(image: string): Promise<string> {
  const name = nameFromFile(image)
  if (name === undefined || (await unknownImages([image])).length === 0) return image
  return (await unknownImages([name])).length === 0 ? name : image
}

/** The services whose image the engine has under another name, and that name: those that are pinned by a digest, and came from a file. */
export async function imagesFromFiles(
  services: readonly { name: string; image: string }[],
): Promise<ReadonlyMap<string, string>> {
  const pinned = services.filter(({ image }) => nameFromFile(image) !== undefined)
  const names = await Promise.all(pinned.map(async ({ name, image }) => [name, await nameInEngine(image)] as const))
  return new Map(names.filter(([, name], index) => name !== pinned[index]?.image))
}

/** Docker's id of the image that has this name; undefined where none has it. */
export async function idOf(name: string): Promise<string | undefined> {
  const result = await $({ nothrow: true })`docker image inspect --format ${'{{.Id}}'} ${name}`
  return result.exitCode === 0 ? result.stdout.trim() : undefined
}

/** A name as an archive can carry it: without a digest. */
export function taggedName(image: string): string {
  return image.replace(/@.*$/, '')
}

/**
 * Does `action` while those of these images that are pinned by a digest have their tags, by which an archive names them. A tag may be somebody else's, for
 * another image: it names that one again afterwards.
 */
export async function withTags<T>(images: readonly string[], action: () => Promise<T>): Promise<T> {
  const pinned = images.filter(image => taggedName(image) !== image)
  const before = await Promise.all(pinned.map(image => idOf(taggedName(image))))
  try {
    for (const image of pinned) await $`docker tag ${await nameInEngine(image)} ${taggedName(image)}`
    return await action()
  } finally {
    // also after a failure elsewhere that has cancelled this
    await cancelledBy(new AbortController().signal, async () => {
      for (const [index, image] of pinned.entries())
        if (before[index] !== undefined) await $`docker tag ${before[index]} ${taggedName(image)}`
    })
  }
}

/** Which of these names the engine does not have. */
async function unknownImages(images: readonly string[]): Promise<string[]> {
  const wanted = [...new Set(images)]
  if (wanted.length === 0) return []
  const format = '{{json .RepoTags}}{{json .RepoDigests}}'
  const { exitCode, stderr } = await answerOf()`docker image inspect --format ${format} ${wanted}`
  if (exitCode === 0) return []
  // docker names each image it does not have on stderr, in lower or upper case `No such image: NAME`
  const missing = new Set([...stderr.matchAll(/no such image: (\S+)/gi)].map(([, image]) => image))
  if (missing.size === 0)
    throw new PlatformError('Docker does not list its images', { why: lastLines(stderr), hint: 'task doctor' })
  return wanted.filter(image => missing.has(image) || missing.has(withTag(image)))
}

function withTag(image: string): string {
  return /[:@][^/]*$/.test(image) ? image : `${image}:latest`
}

/** The name an image has behind a mirror of Docker Hub: `registry:3` becomes `mirror/library/registry:3`. Images of other registries stay. */
export function mirrored(image: string, mirror: string): string {
  const [host = '', ...rest] = image.split('/')
  const onHub = rest.length === 0 || !/[.:]|^localhost$/.test(host)
  if (mirror === '' || !onHub) return image
  return `${mirror}/${rest.length === 0 ? `library/${image}` : image}`
}

/** How far these pulls are, in one line. */
function describePulls(pulls: readonly PullProgress[]): string {
  return pulls.map(({ image, current, total }) => `${image} ${bytes(current)} of ${bytes(total)}`).join(', ')
}

/**
 * Pulls images, each under the name that `sourceOf` has for it, as behind a mirror (they get their own names afterwards). Tries twice, because one
 * lost connection must not cost the morning; ends an attempt that makes no progress for a minute. `report` is told how far they are, in a line. Throws one error that names each image that could
 * not be pulled, and why.
 */
export async function pullImages(
  images: readonly string[],
  sourceOf: (image: string) => string,
  report: (line: string) => void,
): Promise<void> {
  let wanted = [...images]
  let problems = ''
  for (let attempt = 0; attempt < 2 && wanted.length > 0; attempt += 1) {
    problems = await pullOnce(wanted, sourceOf, report)
    wanted = await missingImages(wanted)
  }
  if (wanted.length === 0) return
  throw new PlatformError(
    `${wanted.length === 1 ? 'An image' : `${wanted.length} images`} could not be pulled: ${wanted.join(', ')}`,
    {
      why: problems,
      hint: 'Check the connection; behind a proxy or a pull limit, `docker login`, set IMAGE_MIRROR in .env, or bring images from another machine: `task images -- load FILE`',
    },
  )
}

/**
 * Pushes an image to the registry in its name, logged in as the user is. Ends a push that makes no progress for a minute. Returns why it failed;
 * undefined where it did not.
 */
export async function pushImage(image: string): Promise<string | undefined> {
  // `docker push` says how far a layer is at a terminal only; Compose says it here, too, but pushes just what it could build
  const services = { image: { image, build: { context: '.' } } }
  const problems: string[] = []
  const read = (line: string) => {
    const event = parseEvent(line)
    if (event?.error || event?.level === 'error') problems.push(String(event.message ?? event.text ?? event.error))
  }
  const { exitCode, stderr } = await composeWithProgress({ ...imageProject(services), onLine: read }, ['push'])
  return exitCode === 0 ? undefined : problems.join('\n') || lastLines(stderr, 4)
}

/**
 * Runs Compose on a file on its standard input, until it makes no progress for a minute. It says how far it is as JSON, or where it is too old for that
 * (Debian 13 has 2.26), as lines for people.
 */
async function composeWithProgress(options: CommandOptions, action: readonly string[]) {
  const run = async (form: 'json' | 'plain') => {
    const compose = $({ ...options, idle: stalledAfter, nothrow: true })
    const { exitCode, stderr } = await compose`docker compose --progress ${form} --file - ${action}`
    return { exitCode, stderr, form }
  }
  const result = await run('json')
  return result.exitCode !== 0 && /unsupported --progress value/.test(result.stderr) ? run('plain') : result
}

/** What Compose needs to pull or push images for us, and of nobody's project. */
function imageProject(services: Record<string, object>): CommandOptions {
  return {
    input: JSON.stringify({ name: 'macula-images', services }),
    env: { COMPOSE_FILE: '', COMPOSE_PROJECT_NAME: '', COMPOSE_PARALLEL_LIMIT: String(pullsAtOnce) },
  }
}

/** Docker itself loads three layers of each at once; more images than this make all of them late on a slow line. */
const pullsAtOnce = 6

/** One attempt at all of them; a failed pull does not stop the others. Returns what Compose printed about failures. */
async function pullOnce(
  images: readonly string[],
  sourceOf: (image: string) => string,
  report: (line: string) => void,
): Promise<string> {
  // Compose pulls in parallel, logs in as the user does, and reports bytes: a file made for the purpose is all it takes
  const services = Object.fromEntries(images.map((image, index) => [`image-${index}`, { image: sourceOf(image) }]))
  const events = new PullEvents(images)
  const onLine = (line: string) => void (events.read(line) && report(describePulls(events.progress())))
  const pull = composeWithProgress({ ...imageProject(services), onLine }, ['pull', '--ignore-pull-failures'])
  const problem = await pull.then(
    // what failed is in the events where there are some
    ({ exitCode, stderr, form }) => (exitCode === 0 && form === 'json' ? [] : [lastLines(stderr, 4)]),
    error => [messageOf(error)],
  )
  for (const image of images.filter(image => sourceOf(image) !== image))
    await $({ nothrow: true })`docker tag ${sourceOf(image)} ${image}`
  return [...new Set([...events.problems, ...problem])].join('\n')
}

/** What Compose reports about a pull of several images, one JSON object a line. */
class PullEvents {
  readonly problems: string[] = []
  private readonly layers = new Map<string, Map<string, { current: number; total: number }>>()
  private readonly images: readonly string[]

  constructor(images: readonly string[]) {
    this.images = images
  }

  /** Whether the line tells of progress. */
  read(line: string): boolean {
    const event = parseEvent(line)
    if (event === undefined) return false
    if (event.error || event.level === 'error') this.problems.push(String(event.message ?? event.text ?? event.error))
    const image = this.images[Number(/image-(\d+)/.exec(event.parent_id ?? event.id ?? '')?.[1])]
    if (image === undefined || !event.total) return false
    const known = this.layers.get(image) ?? new Map()
    this.layers.set(image, known.set(event.id ?? '', { current: event.current ?? 0, total: event.total }))
    return true
  }

  progress(): PullProgress[] {
    return [...this.layers].map(([image, parts]) => ({
      image,
      current: sum(parts, 'current'),
      total: sum(parts, 'total'),
    }))
  }
}

function sum(layers: ReadonlyMap<string, { current: number; total: number }>, part: 'current' | 'total'): number {
  return [...layers.values()].reduce((total, layer) => total + layer[part], 0)
}

interface ComposeEvent {
  id?: string
  parent_id?: string
  text?: string
  error?: unknown
  level?: string
  message?: string
  current?: number
  total?: number
}

function parseEvent(line: string): ComposeEvent | undefined {
  try {
    return JSON.parse(line)
  } catch {
    // plain words between the events; they say nothing about progress
    return undefined
  }
}
