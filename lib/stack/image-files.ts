import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type ArchivedImage, dockerName, type ImageArchive, withDockerArchive } from '../supply/image-archive.ts'
import { PlatformError } from '../system/errors.ts'
import { $ } from '../system/exec.ts'
import { ensureFolder, replaceFile } from '../system/files.ts'
import { silentWork, stalledAfter } from '../system/stall.ts'
import { idOf, missingImages, nameFromFile, nameInEngine, taggedName, withTags } from './image-store.ts'

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
  const fileOf = (image: string) => (isFolder ? join(target, `${taggedName(image).replace(/[/:]/g, '_')}.tar`) : target)
  if (isFolder) await ensureFolder(target)
  const saved = await Promise.all(
    images.map(async image => ({ image, ...(await factsOf(await nameInEngine(image))), file: fileOf(image) })),
  )
  await withTags(images, async () => {
    if (isFolder) for (const { image, file } of saved) await save([taggedName(image)], file)
    else await save(images.map(taggedName), target)
  })
  const list = saved.map(entry => ({ ...entry, file: basename(entry.file) }))
  const listFile = isFolder ? join(target, 'images.json') : `${target}.json`
  await replaceFile(listFile, `${JSON.stringify({ images: list }, null, 2)}\n`, { mode: 0o644 })
  return list
}

/**
 * Loads the images of these archives that the engine does not have as they are, and says of each what was new. Archives without anything new are
 * not loaded. Those of `wanted` that are pinned by a digest are found afterwards, also in an engine that forgets digests when it loads. Throws where
 * the engine then has another image of that name than the archive.
 */
export async function loadImages(archives: readonly ImageArchive[], wanted: readonly string[]): Promise<LoadedImage[]> {
  const loaded: LoadedImage[] = []
  for (const archive of archives) {
    const before = await Promise.all(archive.images.map(({ name }) => idOf(name)))
    const isNew = archive.images.map((image, index) => !isSame(image, before[index]))
    if (isNew.includes(true))
      await withDockerArchive(archive, async file => {
        // read by us, so that we see how far it is; what was read is unpacked without a word
        const input = createReadStream(file)
        await $({ input, idle: () => (input.readableEnded ? silentWork : stalledAfter) })`docker load --quiet`
      })
    for (const [index, image] of archive.images.entries()) {
      const outcome = !isNew[index] ? 'unchanged' : before[index] === undefined ? 'created' : 'updated'
      if (isNew[index]) await requireLoaded(archive, image)
      const isNamed = await ensurePinnedNames(image, wanted)
      loaded.push({ ...image, path: archive.path, outcome: outcome === 'unchanged' && isNamed ? 'created' : outcome })
    }
  }
  return loaded
}

/** The engine puts layers of gigabytes together before the first byte comes, and says nothing; the file shows the rest. */
async function save(images: readonly string[], file: string): Promise<void> {
  const folder = dirname(file)
  // the client writes beside the file, under a name of its own
  const measure = async () => {
    const sizes = await Promise.all((await readdir(folder)).map(async name => (await stat(join(folder, name))).size))
    return sizes.reduce((sum, size) => sum + size, 0)
  }
  await $({ idle: silentWork, measure })`docker save --output ${file} ${images}`
}

async function requireLoaded({ path }: ImageArchive, image: ArchivedImage): Promise<void> {
  const id = await idOf(image.name)
  if (isSame(image, id)) return
  throw new PlatformError(`${path} did not bring ${image.name} as it says`, {
    why: `its id should be ${image.id} and is ${id ?? 'not there'}`,
    hint: `docker load --input ${path}`,
  })
}

/** Has the engine find a loaded image where it is asked for by a digest; whether there was something to do. */
async function ensurePinnedNames(image: ArchivedImage, wanted: readonly string[]): Promise<boolean> {
  const pinned = wanted.filter(name => nameFromFile(name) !== undefined && isMeant(name, image))
  const missing = await missingImages(pinned)
  for (const name of missing) await $`docker tag ${image.name} ${nameFromFile(name)}`
  return missing.length > 0
}

/** An engine with containerd's image store calls an image by its manifest, others by its configuration. */
function isSame({ id, digests }: ArchivedImage, found: string | undefined): boolean {
  return found !== undefined && (found === id || digests.includes(found))
}

async function factsOf(image: string): Promise<{ id: string; digest: string | null }> {
  const format = '{"id":{{json .Id}},"digests":{{json .RepoDigests}}}'
  const { id, digests }: { id: string; digests: string[] | null } =
    await $`docker image inspect --format ${format} ${image}`.json()
  return { id, digest: digests?.[0]?.replace(/^.*@/, '') ?? null }
}

/** How an image from a file was verified, for people: by the digest that its name asks for, else by its own id. */
export function verifiedBy(wanted: string, { id, digests }: ArchivedImage): string {
  const pinned = digestIn(wanted)
  if (pinned === undefined) return `image id ${short(id)}`
  return digests.includes(pinned)
    ? `digest ${short(pinned)}`
    : `image id ${short(id)}, as the file lacks ${short(pinned)}`
}

/** That of `wanted` which an image from a file stands for; undefined where it is none of them. */
export function wantedName(wanted: readonly string[], image: ArchivedImage): string | undefined {
  return wanted.find(name => isMeant(name, image))
}

/** By its name, or whatever that is, by the digest it is pinned by. */
function isMeant(wanted: string, { name, digests }: ArchivedImage): boolean {
  const pinned = digestIn(wanted)
  return dockerName(wanted) === name || (pinned !== undefined && digests.includes(pinned))
}

function digestIn(image: string): string | undefined {
  return /@(sha256:[0-9a-f]{64})$/.exec(image)?.[1]
}

function short(digest: string): string {
  return digest.slice(0, 19)
}

/** Those images that are among `wanted`, and those that are not. */
export function sortedBy<T extends ArchivedImage>(wanted: readonly string[], images: readonly T[]): [T[], T[]] {
  const isWanted = (image: T) => wantedName(wanted, image) !== undefined
  return [images.filter(isWanted), images.filter(image => !isWanted(image))]
}
