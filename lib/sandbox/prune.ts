import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { folderName, type SupplyOptions, withAll } from '../supply/cache.ts'
import { pruneGoCaches } from '../supply/go.ts'
import { removeFolder, sizeOf } from '../supply/sizes.ts'
import { type DockerClient, dockerClient } from './docker-client.ts'
import { createImageBuilder, imageNames } from './image-builder.ts'
import { engineBuild, programBuild } from './programs.ts'
import { type ImageCatalogue, imageCatalogue, programRecipes } from './recipes.ts'
import { rootfsBuild, rootfsRecipe } from './rootfs.ts'
import { type StandInOptions, standInLabel } from './standins.ts'
import { type Store, storeOf } from './store.ts'

/** How long builds of another version of this project are kept: somebody who switches between two branches needs both. */
const keptMs = 14 * 24 * 3600 * 1000

/** Something in the cache that was removed, or could be. */
export interface CacheEntry {
  /** In words: `Go's caches`, `the sandbox tests`, `loki, which no recipe makes any more`. */
  what: string
  bytes: number
}

/** What was removed. */
export interface Pruned {
  /** Folders of the cache. */
  builds: string[]
  /** Names of images. */
  images: string[]
}

/** Removes what no recipe makes any more and nobody has used for two weeks: builds in the cache, and stand-ins in the engine. */
export async function prune(options: StandInOptions): Promise<Pruned> {
  const catalogue = await imageCatalogue()
  const limit = longUnused()
  const client = await dockerClient(options.docker, options.path)
  try {
    const builds = await pruneBuilds(options.cacheDir, await neededBuilds(catalogue, options), limit)
    const needed = await imageNames(createImageBuilder(catalogue, client, options))
    const images = obsoleteImages(await allImages(client), new Set(needed), limit)
    if (images.length > 0) await client.$`docker image rm --force ${images}`
    return { builds, images }
  } finally {
    await client.close()
  }
}

/** When something was last used for it to go by its age alone. */
export function longUnused(): Date {
  return new Date(Date.now() - keptMs)
}

/** Unused for a day: not what somebody works on who changes recipes, or the branch, to and fro. */
const dayMs = 24 * 3600 * 1000

/**
 * Removes from the cache what the next start of the sandbox `name` would not use, without an engine: Go's caches, builds that no recipe makes any
 * more, the stores of sandboxes of other names. With `onlyOld`, just what nobody has used for long. What somebody uses right now stays.
 */
export async function pruneCache(
  cacheDir: string,
  name: string,
  { onlyOld = false }: { onlyOld?: boolean } = {},
): Promise<CacheEntry[]> {
  const [now, dayAgo] = [new Date(), new Date(Date.now() - dayMs)]
  const removed: CacheEntry[] = [{ what: "Go's caches", bytes: await pruneGoCaches(cacheDir, onlyOld ? dayAgo : now) }]
  const needed = await neededBuilds(await imageCatalogue(), { cacheDir })
  for (const build of await oldBuilds(cacheDir, needed, onlyOld ? longUnused() : dayAgo)) {
    const bytes = await removeFolder(join(cacheDir, 'built', build))
    removed.push({ what: `${build.replace(/-\w+$/, '')}, which no recipe makes any more`, bytes })
  }
  for (const other of await namesIn(join(cacheDir, 'sandbox'))) {
    if (other === name) continue
    const bytes = await removeStore(storeOf(cacheDir, other), onlyOld ? longUnused() : now)
    if (bytes !== undefined) removed.push({ what: `the images of the sandbox ${other}`, bytes })
  }
  return removed.filter(({ bytes }) => bytes > 0)
}

/** What `pruneCache` could remove now, with sizes; nothing is removed. */
export async function prunable(cacheDir: string, name: string): Promise<CacheEntry[]> {
  const others = (await namesIn(join(cacheDir, 'sandbox'))).filter(other => other !== name)
  const entries = [
    { what: "Go's caches", folder: join(cacheDir, 'go') },
    ...others.map(other => ({ what: `the images of the sandbox ${other}`, folder: storeOf(cacheDir, other).folder })),
  ]
  const sized = await Promise.all(entries.map(async ({ what, folder }) => ({ what, bytes: await sizeOf(folder) })))
  return sized.filter(({ bytes }) => bytes > 0)
}

/** Removes a sandbox's images and logs unless it is up or has been since; undefined where it stays. */
async function removeStore(store: Store, unusedSince: Date): Promise<number | undefined> {
  return withAll([store.lockFile], async () => {
    const used = await stat(store.initLog).catch(() => undefined)
    return used && used.mtime > unusedSince ? undefined : removeFolder(store.folder)
  })
}

/** Removes the builds that are not among `needed` and have not been used since `limit`; returns their names. */
export async function pruneBuilds(cacheDir: string, needed: ReadonlySet<string>, limit: Date): Promise<string[]> {
  const old = await oldBuilds(cacheDir, needed, limit)
  for (const name of old) await removeFolder(join(cacheDir, 'built', name))
  return old
}

async function oldBuilds(cacheDir: string, needed: ReadonlySet<string>, limit: Date): Promise<string[]> {
  const folder = join(cacheDir, 'built')
  const old: string[] = []
  for (const name of await namesIn(folder)) {
    const found = await stat(join(folder, name)).catch(() => undefined)
    if (!needed.has(name) && found !== undefined && found.mtime <= limit) old.push(name)
  }
  return old
}

function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((): string[] => [])
}

async function neededBuilds(catalogue: ImageCatalogue, options: SupplyOptions): Promise<Set<string>> {
  const builds = await Promise.all([
    ...Object.keys(await programRecipes()).map(name => programBuild(name, options)),
    ...Object.keys(catalogue.bases).map(async name => rootfsBuild(rootfsRecipe(catalogue, name)!, options)),
  ])
  return new Set([engineBuild, ...builds].map(folderName))
}

/** An image as `docker image inspect` describes it, in the few fields that matter here. */
export interface InspectedImage {
  RepoTags: string[] | null
  Created: string
  Config: { Labels: Record<string, string> | null } | null
}

async function allImages(client: DockerClient): Promise<InspectedImage[]> {
  const ids = await client.$`docker image ls --quiet --no-trunc`.lines()
  if (ids.length === 0) return []
  return client.$`docker image inspect ${[...new Set(ids)]}`.json()
}

/** The names of stand-ins, of their bases and of what was built on them, that are none of the `needed` ones under any name and older than `limit`. */
export function obsoleteImages(images: readonly InspectedImage[], needed: ReadonlySet<string>, limit: Date): string[] {
  return images.flatMap(({ RepoTags, Created, Config }) => {
    const names = RepoTags ?? []
    const ours = Config?.Labels?.[standInLabel] !== undefined || names.some(name => name.startsWith('macula-standin/'))
    return ours && new Date(Created) < limit && !names.some(name => needed.has(name)) ? names : []
  })
}
