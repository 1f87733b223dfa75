import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type ArchivedImage, dockerName, type ImageArchive, withDockerArchive } from '../supply/image-archive.ts'
import { PlatformError } from '../system/errors.ts'
import { $ } from '../system/exec.ts'
import { ensureFolder, replaceFile } from '../system/files.ts'

/** Images have gigabytes, and disks of all speeds. */
const copyTimeout = '30m'

/** An image in a file that was saved, as the list beside it names it. */
export interface SavedImage {
  image: string
  file: string
  id: string
  /** The registry's digest; null for what no registry knows. */
  digest: string | null
}

/** What loading did for one image. */
export interface LoadedImage extends ArchivedImage {
  /** The file it came from. */
  path: string
  /** `created`: the engine did not have it; `updated`: it had another one of that name. */
  outcome: 'unchanged' | 'created' | 'updated'
}

/**
 * Writes images for a machine without a network: into one archive, or where `target` is a folder or ends with `/`, into one for each image.
 * The list of what is where is `FILE.json`, or `images.json` in the folder.
 */
export async function saveImages(images: readonly string[], target: string): Promise<SavedImage[]> {
  const isFolder = target.endsWith('/') || (await stat(target).catch(() => undefined))?.isDirectory() === true
  const fileOf = (image: string) =>
    isFolder ? join(target, `${image.replace(/@.*$/, '').replace(/[/:]/g, '_')}.tar`) : target
  if (isFolder) await ensureFolder(target)
  const saved = await Promise.all(
    images.map(async image => ({ image, ...(await factsOf(image)), file: fileOf(image) })),
  )
  if (isFolder)
    for (const { image, file } of saved) await $({ timeout: copyTimeout })`docker save --output ${file} ${image}`
  else await $({ timeout: copyTimeout })`docker save --output ${target} ${images}`
  const list = saved.map(entry => ({ ...entry, file: basename(entry.file) }))
  const listFile = isFolder ? join(target, 'images.json') : `${target}.json`
  await replaceFile(listFile, `${JSON.stringify({ images: list }, null, 2)}\n`, { mode: 0o644 })
  return list
}

/**
 * Loads the images of these archives that the engine does not have as they are, and says of each what was new. Archives without anything new are
 * not loaded. Throws where the engine then has another image of that name than the archive.
 */
export async function loadImages(archives: readonly ImageArchive[]): Promise<LoadedImage[]> {
  const loaded: LoadedImage[] = []
  for (const archive of archives) {
    const before = await Promise.all(archive.images.map(({ name }) => idOf(name)))
    const isNew = archive.images.map((image, index) => !isSame(image, before[index]))
    if (isNew.includes(true))
      await withDockerArchive(archive, async file => {
        await $({ timeout: copyTimeout })`docker load --quiet --input ${file}`
      })
    for (const [index, image] of archive.images.entries()) {
      const outcome = !isNew[index] ? 'unchanged' : before[index] === undefined ? 'created' : 'updated'
      if (isNew[index]) await requireLoaded(archive, image)
      loaded.push({ ...image, path: archive.path, outcome })
    }
  }
  return loaded
}

async function requireLoaded({ path }: ImageArchive, image: ArchivedImage): Promise<void> {
  const id = await idOf(image.name)
  if (isSame(image, id)) return
  throw new PlatformError(`${path} did not bring ${image.name} as it says`, {
    why: `its id should be ${image.id} and is ${id ?? 'not there'}`,
    hint: `docker load --input ${path}`,
  })
}

/** An engine with containerd's image store calls an image by its manifest, others by its configuration. */
function isSame({ id, digest }: ArchivedImage, found: string | undefined): boolean {
  return found !== undefined && (found === id || found === digest)
}

async function idOf(name: string): Promise<string | undefined> {
  const inspect = $({ nothrow: true, timeout: '60s' })
  const { exitCode, stdout } = await inspect`docker image inspect --format ${'{{.Id}}'} ${name}`
  return exitCode === 0 ? stdout.trim() : undefined
}

async function factsOf(image: string): Promise<{ id: string; digest: string | null }> {
  const format = '{"id":{{json .Id}},"digests":{{json .RepoDigests}}}'
  const { id, digests }: { id: string; digests: string[] | null } =
    await $`docker image inspect --format ${format} ${image}`.json()
  return { id, digest: digests?.[0]?.replace(/^.*@/, '') ?? null }
}

/** How an image from a file was verified, for people: by the digest that its name asks for, else by its own id. */
export function verifiedBy(wanted: string, { id, digest }: ArchivedImage): string {
  const pinned = /@(sha256:[0-9a-f]{64})$/.exec(wanted)?.[1]
  return pinned !== undefined && pinned === digest ? `digest ${digest}` : `image id ${id.slice(0, 19)}`
}

/** Those images that are among `wanted`, and those that are not. */
export function sortedBy<T extends ArchivedImage>(wanted: readonly string[], images: readonly T[]): [T[], T[]] {
  const names = new Set(wanted.map(name => dockerName(name.replace(/@.*$/, ''))))
  return [images.filter(({ name }) => names.has(name)), images.filter(({ name }) => !names.has(name))]
}
