import { PlatformError } from '../system/errors.ts'
import { ask, lastLines, run } from '../system/exec.ts'

/** How far the download of one image is. */
export interface PullProgress {
  image: string
  /** Bytes of the layers that have told their size so far. */
  current: number
  total: number
}

/** Which of these images the engine does not have. */
export async function missingImages(images: readonly string[]): Promise<string[]> {
  const wanted = [...new Set(images)]
  const answer = await ask([
    'docker',
    'image',
    'inspect',
    '--format',
    '{{json .RepoTags}}{{json .RepoDigests}}',
    ...wanted,
  ])
  if (answer.exitCode === 0) return []
  // docker names each image it does not have on stderr, in lower or upper case `No such image: NAME`
  const missing = new Set([...answer.stderr.matchAll(/no such image: (\S+)/gi)].map(([, image]) => image))
  if (missing.size === 0)
    throw new PlatformError('Docker could not say which images it has', {
      why: lastLines(answer.stderr),
      hint: 'task doctor',
    })
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

/**
 * Pulls images, through `mirror` where one is set (they get their own names afterwards). Tries twice, because one lost connection must not cost
 * the morning. Throws one error that names each image that could not be had, and why.
 */
export async function pullImages(
  images: readonly string[],
  mirror: string,
  report: (pulls: readonly PullProgress[]) => void,
): Promise<void> {
  let wanted = [...images]
  let words = ''
  for (let attempt = 0; attempt < 2 && wanted.length > 0; attempt += 1) {
    words = await pullOnce(wanted, mirror, report)
    wanted = await missingImages(wanted)
  }
  if (wanted.length === 0) return
  throw new PlatformError(
    `${wanted.length === 1 ? 'An image' : `${wanted.length} images`} could not be pulled: ${wanted.join(', ')}`,
    {
      why: words,
      hint: 'Check the connection; behind a proxy or a pull limit, `docker login`, set IMAGE_MIRROR in .env, or bring images from another machine: `task images -- load FILE`',
    },
  )
}

/** One attempt at all of them; a failed pull does not stop the others. Returns what Compose said of failures. */
async function pullOnce(
  images: readonly string[],
  mirror: string,
  report: (pulls: readonly PullProgress[]) => void,
): Promise<string> {
  // Compose pulls in parallel, logs in as the user does, and reports bytes: a file made for the purpose is all it takes
  const services = Object.fromEntries(
    images.map((image, index) => [`image-${index}`, { image: mirrored(image, mirror) }]),
  )
  const layers = new Map<string, Map<string, { current: number; total: number }>>()
  const problems = new Set<string>()
  await ask(['docker', 'compose', '--progress', 'json', '-f', '-', 'pull', '--ignore-pull-failures'], {
    input: JSON.stringify({ name: 'macula-images', services }),
    env: { COMPOSE_FILE: '', COMPOSE_PROJECT_NAME: '' },
    onLine(line) {
      const event = parseEvent(line)
      if (event === undefined) return
      if (event.error || event.level === 'error') problems.add(String(event.message ?? event.text ?? event.error))
      const image = images[Number(/image-(\d+)/.exec(event.parent_id ?? event.id ?? '')?.[1])]
      if (image === undefined || !event.total) return
      const known = layers.get(image) ?? new Map()
      layers.set(image, known.set(event.id ?? '', { current: event.current ?? 0, total: event.total }))
      report(
        [...layers].map(([name, parts]) => ({
          image: name,
          current: sum(parts, 'current'),
          total: sum(parts, 'total'),
        })),
      )
    },
  }).then(result => result.exitCode !== 0 && problems.add(lastLines(result.stderr, 4)))
  if (mirror !== '') {
    for (const image of images)
      if (mirrored(image, mirror) !== image) await ask(['docker', 'tag', mirrored(image, mirror), image])
  }
  return [...problems].join('\n')
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

/** Writes images into one archive for a machine without a network. */
export async function saveImages(images: readonly string[], file: string): Promise<void> {
  await run(['docker', 'save', '--output', file, ...images])
}

/** Loads an archive that `saveImages` wrote and returns the names in it. */
export async function loadImages(file: string): Promise<string[]> {
  const { stdout } = await run(['docker', 'load', '--input', file])
  return [...stdout.matchAll(/^Loaded image: (\S+)/gm)].flatMap(([, name]) => (name === undefined ? [] : [name]))
}
