import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { folderName } from '../supply/cache.ts'
import { type DockerClient, dockerClient } from './docker-client.ts'
import { createImageBuilder, imageNames } from './image-builder.ts'
import { programBuild } from './programs.ts'
import { type ImageCatalogue, imageCatalogue, programRecipes } from './recipes.ts'
import { rootfsBuild, rootfsRecipe } from './rootfs.ts'
import { type StandInOptions, standInLabel } from './standins.ts'

/** What another version of this project makes is kept this long: whoever goes back and forth between two of them needs both. */
const keptMs = 14 * 24 * 3600 * 1000

/** What was removed. */
export interface Pruned {
  /** Folders of the cache. */
  builds: string[]
  /** Names of images. */
  images: string[]
}

/** Removes what no recipe makes any more and nobody has used for two weeks: builds in the cache, stand-ins in the engine, and what building them left there. */
export async function prune(options: StandInOptions): Promise<Pruned> {
  const catalogue = await imageCatalogue()
  const limit = new Date(Date.now() - keptMs)
  const client = await dockerClient(options.docker, options.path)
  try {
    const builds = await pruneBuilds(options.cacheDir, await neededBuilds(catalogue, options), limit)
    const needed = await imageNames(createImageBuilder(catalogue, client, options))
    const images = obsoleteImages(await allImages(client), new Set(needed), limit)
    if (images.length > 0) await client.$`docker image rm --force ${images}`
    await client.$`docker builder prune --all --force --filter until=${keptMs / 3_600_000}h`
    return { builds, images }
  } finally {
    await client.close()
  }
}

/** Removes the builds that are not among `needed` and have not been used since `limit`; returns their names. */
export async function pruneBuilds(cacheDir: string, needed: ReadonlySet<string>, limit: Date): Promise<string[]> {
  const folder = join(cacheDir, 'built')
  const removed: string[] = []
  for (const name of await readdir(folder).catch((): string[] => [])) {
    const found = await stat(join(folder, name)).catch(() => undefined)
    if (needed.has(name) || found === undefined || found.mtime > limit) continue
    await rm(join(folder, name), { recursive: true, force: true })
    removed.push(name)
  }
  return removed
}

async function neededBuilds(catalogue: ImageCatalogue, options: StandInOptions): Promise<Set<string>> {
  const builds = await Promise.all([
    ...Object.keys(await programRecipes()).map(name => programBuild(name, options)),
    ...Object.keys(catalogue.bases).map(async name => rootfsBuild(rootfsRecipe(catalogue, name)!, options)),
  ])
  return new Set(builds.map(folderName))
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
