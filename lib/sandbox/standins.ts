import { mkdir } from 'node:fs/promises'
import type { SupplyOptions } from '../supply/cache.ts'
import { PlatformError } from '../system/errors.ts'
import { type DockerClient, dockerClient, type EngineAddress, type EngineImage } from './docker-client.ts'
import {
  announceCompiles,
  buildPlaceholder,
  createImageBuilder,
  ensureImage,
  type ImageBuilder,
  needsMinutes,
} from './image-builder.ts'
import { imageCatalogue, repositoryOf } from './recipes.ts'

export interface StandInOptions extends SupplyOptions {
  docker: EngineAddress
  /** PATH of this process, for everything but the engine's own programs. */
  path: string
}

export type StandInOutcome = 'unchanged' | 'created' | 'updated'

/** A placeholder was made, as the stand-in could not be. */
export class PlaceholderInstead {
  readonly cause: Error

  constructor(cause: Error) {
    this.cause = cause
  }
}

/** A stand-in on its way. */
export interface StandIn {
  outcome: Promise<StandInOutcome | PlaceholderInstead>
  /** A program has to be compiled for it first, or packages be installed, which takes minutes. */
  slow: boolean
}

/** Label of every stand-in: `real` for the daemon itself from another source than the image, `other` for another one of the same protocol, `placeholder` for what only answers a health check. */
export const standInLabel = 'macula.standin'

/**
 * Puts a stand-in into the engine under each of these names: one outcome per image, so that a caller can wait for one of them.
 * Quick ones come first, in the catalogue's order. An image that is no stand-in is left alone, and so is a stand-in that its recipe would make
 * again. Where a program cannot be compiled, a placeholder takes the image's place if its recipe has one. An outcome is rejected with a PlatformError
 * when there is no recipe for the image or it cannot be built; the others go on.
 */
export async function ensureStandIns(
  images: readonly string[],
  options: StandInOptions,
): Promise<Map<string, StandIn>> {
  await mkdir(options.cacheDir, { recursive: true })
  const catalogue = await imageCatalogue()
  const paths = Object.keys(catalogue.images)
  const place = (image: string) => paths.indexOf(repositoryOf(image))
  const wanted = [...new Set(images)].sort((one, other) => place(one) - place(other))
  const client = await dockerClient(options.docker, options.path)
  const builder = createImageBuilder(catalogue, client, options)
  // everything that takes time to look up, before anything is built: what is slow must not start before what is quick
  const present = await Promise.all(wanted.map(image => client.inspect(image)))
  const slow = await Promise.all(wanted.map(image => needsMinutes(builder, repositoryOf(image)).catch(() => false)))
  await announceCompiles(
    builder,
    wanted.map(repositoryOf).filter(repository => catalogue.images[repository]),
  )
  const standIns = wanted.map((image, index) => ({
    outcome: ensureStandIn(image, present[index], client, builder).catch(error =>
      placeholderFor(image, builder, error),
    ),
    slow: slow[index] === true,
  }))
  // also keeps a failure that nobody waits for yet from ending the process
  void Promise.allSettled(standIns.map(({ outcome }) => outcome))
    .then(() => dropBuildCache(client))
    .finally(() => client.close())
  return new Map(wanted.map((image, index) => [image, standIns[index]!]))
}

/** Puts a placeholder under the name of an image that could not be made, or throws why. */
async function placeholderFor(image: string, builder: ImageBuilder, cause: unknown): Promise<PlaceholderInstead> {
  if (!(cause instanceof PlatformError) || builder.options.signal?.aborted) throw cause
  const made = await buildPlaceholder(builder, repositoryOf(image)).catch(() => undefined)
  if (made === undefined) throw cause
  await builder.client.$`docker tag ${made} ${image}`
  return new PlaceholderInstead(cause)
}

/** BuildKit keeps every context and layer once more. An image is built again only when what it is made of has changed, so that is of no use. */
async function dropBuildCache(client: DockerClient): Promise<void> {
  await client.$({ nothrow: true, timeout: '2m' })`docker builder prune --all --force`.catch(() => {})
}

/** Tells the report which programs these images will make this run compile, before any of them is begun. */
export async function announceStandIns(images: readonly string[], options: StandInOptions): Promise<void> {
  const client = await dockerClient(options.docker, options.path)
  try {
    const builder = createImageBuilder(await imageCatalogue(), client, options)
    await announceCompiles(builder, images.map(repositoryOf))
  } finally {
    await client.close()
  }
}

async function ensureStandIn(
  image: string,
  present: EngineImage | undefined,
  client: DockerClient,
  builder: ImageBuilder,
): Promise<StandInOutcome> {
  if (present && !present.labels[standInLabel]) return 'unchanged'
  const made = await ensureImage(builder, repositoryOf(image))
  if (present && present.id === (await client.inspect(made))?.id) return 'unchanged'
  await client.$`docker tag ${made} ${image}`
  return present ? 'updated' : 'created'
}
