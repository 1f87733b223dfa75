import { copyFile, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { within, $ as zx } from 'zx/core'
import { loadImages, sortedBy, verifiedBy, wantedName } from '../stack/image-files.ts'
import { mirrored, missingImages, nameInEngine, pullImages } from '../stack/image-store.ts'
import type { SupplyOptions } from '../supply/cache.ts'
import type { ImageArchive } from '../supply/image-archive.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import { $ } from '../system/exec.ts'
import type { StepProgress } from '../system/progress.ts'
import { type EngineOptions, outsideAddress, withMachineNetwork } from './engine.ts'
import type { Namespace } from './namespace.ts'
import { ensureStandIns, PlaceholderInstead, standInLabel } from './standins.ts'

/** A registry answers within 1 s on any connection that a pull could be done over; more would only delay those who have none. */
const registryDeadlineMs = 3000
/** What Docker says when it gets no answer; everything else, a refusal included, comes from a registry. */
const noAnswer =
  /dial tcp|no such host|i\/o timeout|connection (refused|reset)|network is unreachable|did not end within|TLS handshake/

export interface ImageSupply {
  images: readonly string[]
  /** Those of `images` that are waited for even if that takes a minute. */
  first?: readonly string[]
  /** Pulled too, where that is possible; nothing is built in their place. */
  onlyPulled?: readonly string[]
  /** Files that images may be loaded from, before anything is pulled or built. */
  archives?: readonly ImageArchive[]
  /** IMAGE_MIRROR, or nothing. */
  mirror: string
  path: string
  /** The user's own Docker client configuration, for logins to registries; need not exist. */
  login: string
  supply: SupplyOptions
  progress: StepProgress
  /** Told once why images have to be made here. */
  warn: (text: string) => void
}

/** Where images came from, counted. */
export interface Supplied {
  present: number
  /** Loaded from files now. */
  fromFiles: number
  pulled: number
  standIns: number
  /** Those of `onlyPulled` that could not be had. */
  lacking: string[]
  /** Stand-ins that are still made, because a program has to be compiled for them. */
  later: LaterImages
}

/** Images that come one after the other, and the time to wait for the next. */
export interface LaterImages {
  /** Those that are not there yet, or could not be made. */
  names(): string[]
  /** Those that are being made. */
  pending(): string[]
  /** Why those that could not be made could not, also where a placeholder is there in their place. */
  failures(): ReadonlyMap<string, Error>
  /** Resolves when one more is there, or has failed; at once when none is being made. */
  next(): Promise<void>
}

/**
 * Has the images in the sandbox's engine: those of earlier runs, then pulled where this machine reaches a registry, then stand-ins
 * built here. Does not wait for those that take minutes, but for `first`. Throws for the first image that none of these can supply.
 */
export async function supplyImages(
  namespace: Namespace,
  engine: EngineOptions,
  supply: ImageSupply,
): Promise<Supplied> {
  const config = await clientFolder(engine.programs.cliPlugins, supply.login)
  const env = { ...engine.environment, DOCKER_HOST: outsideAddress(namespace), DOCKER_CONFIG: config }
  try {
    return await supplyAs(env, namespace, engine, supply)
  } finally {
    await rm(config, { recursive: true, force: true })
  }
}

async function supplyAs(
  env: Record<'DOCKER_HOST' | 'DOCKER_CONFIG', string>,
  namespace: Namespace,
  engine: EngineOptions,
  { images, first = [], onlyPulled = [], archives = [], mirror, path, supply, progress, warn }: ImageSupply,
): Promise<Supplied> {
  const wanted = [...new Set([...images, ...onlyPulled])]
  const fromFiles = await withEnvironment(env, () => loadFrom(archives, wanted, progress))
  const lacking = () => withEnvironment(env, async () => unreal(wanted, await missingImages(wanted)))
  const needed = await lacking()
  const present = wanted.length - needed.length - fromFiles
  const [any] = needed
  if (any === undefined) return { present, fromFiles, pulled: 0, standIns: 0, lacking: [], later: laterImages([]) }

  const refusal = await registryRefusal(mirrored(any, mirror), env)
  if (refusal === undefined) {
    await withMachineNetwork(namespace, engine, () => pull(needed, mirror, env, progress, warn))
  }
  const unpulled = refusal === undefined ? await lacking() : needed
  const docker = { host: env.DOCKER_HOST, programs: engine.programs }
  const lackingImages = unpulled.filter(image => onlyPulled.includes(image))
  const replaceable = unpulled.filter(image => !onlyPulled.includes(image))
  const standIns = await ensureStandIns(replaceable, { ...supply, docker, path })
  const later = laterImages([...standIns].map(([image, { outcome }]) => [image, outcome]))
  const slow = [...standIns.values()].filter(({ slow }) => slow)
  const quick = [...standIns.values()].filter(({ slow }) => !slow)
  const why = 'No registry answers, so stand-ins for the images are built here'
  if (refusal !== undefined && slow.length > 0)
    warn(`${why}; compiling takes up to 16 GB of disk, about 6 GB stay\n  ${refusal}`)
  const outcomes = await Promise.all(quick.map(({ outcome }) => outcome))
  if (refusal !== undefined && slow.length === 0 && outcomes.includes('created')) warn(`${why}\n  ${refusal}`)
  for (const image of first) await standIns.get(image)?.outcome
  while (first.some(image => later.pending().includes(image))) await later.next()
  return {
    present,
    fromFiles,
    pulled: needed.length - unpulled.length,
    standIns: replaceable.length - later.names().length,
    lacking: lackingImages,
    later,
  }
}

/** Loads the archives with images that are wanted, says how each was verified and what else was in them, and counts those that were new. */
async function loadFrom(
  archives: readonly ImageArchive[],
  wanted: readonly string[],
  progress: StepProgress,
): Promise<number> {
  const useful = archives.filter(({ images }) => sortedBy(wanted, images)[0].length > 0)
  for (const { path } of archives.filter(archive => !useful.includes(archive)))
    progress.line(`${basename(path)}: no service uses what is in it`)
  const [used, others] = sortedBy(wanted, await loadImages(useful, wanted))
  for (const image of used) {
    if (image.outcome !== 'unchanged')
      progress.line(
        `${image.name}: from ${basename(image.path)}, verified by ${verifiedBy(wantedName(wanted, image) ?? '', image)}`,
      )
  }
  for (const { name, path } of others) progress.line(`${name}: from ${basename(path)}, kept; no service uses it`)
  return used.filter(({ outcome }) => outcome !== 'unchanged').length
}

/** Keeps account of images that are being made, by name. One that fails does not keep the others from being used. */
export function laterImages(making: readonly (readonly [image: string, done: Promise<unknown>])[]): LaterImages {
  const failed = new Map<string, Error>()
  const replaced = new Map<string, Error>()
  const waiting = new Map(
    making.map(([image, done]) => [
      image,
      done
        .then(
          outcome => outcome instanceof PlaceholderInstead && void replaced.set(image, outcome.cause),
          error => void failed.set(image, error instanceof Error ? error : new Error(String(error))),
        )
        .then(() => void waiting.delete(image)),
    ]),
  ) as Map<string, Promise<void>>
  const order = making.map(([image]) => image)
  return {
    names: () => order.filter(image => waiting.has(image) || failed.has(image)),
    pending: () => [...waiting.keys()],
    failures: () => new Map([...failed, ...replaced]),
    async next() {
      if (waiting.size > 0) await Promise.race(waiting.values())
    },
  }
}

/** A Docker client configuration outside of the sandbox: its engine's plugins, the user's logins. */
async function clientFolder(cliPlugins: string, login: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'macula-client-'))
  await symlink(cliPlugins, join(folder, 'cli-plugins'))
  await copyFile(login, join(folder, 'config.json')).catch(error => {
    if (error.code !== 'ENOENT') throw error
  })
  return folder
}

/** Those of `images` that are missing, or there as a stand-in only. */
async function unreal(images: readonly string[], missing: readonly string[]): Promise<string[]> {
  const format = `{{if .Config.Labels}}{{index .Config.Labels "${standInLabel}"}}{{end}}`
  const found: string[] = []
  for (const image of images) {
    const isStandIn = async () =>
      (
        await $({ nothrow: true })`docker image inspect --format ${format} ${await nameInEngine(image)}`
      ).stdout.trim() !== ''
    if (missing.includes(image) || (await isStandIn())) found.push(image)
  }
  return found
}

async function pull(
  images: readonly string[],
  mirror: string,
  env: Record<string, string>,
  progress: StepProgress,
  warn: (text: string) => void,
): Promise<void> {
  await withEnvironment(env, async () => {
    // a name that a stand-in has would pass for pulled; the stand-in itself stays under a name of its own
    for (const image of images) await $({ nothrow: true })`docker image rm ${image}`
    try {
      await pullImages(images, image => mirrored(image, mirror), progress.update)
    } catch (error) {
      // what a registry does not have can still be built
      if (!(error instanceof PlatformError)) throw error
      warn(`${error.message}; stand-ins are built for them${error.why ? `\n  ${error.why}` : ''}`)
    }
  })
}

/** Why no registry answers for this image, in Docker's words; undefined when one does. */
async function registryRefusal(image: string, env: Record<string, string>): Promise<string | undefined> {
  const inspect = $({ env, timeout: registryDeadlineMs, nothrow: true })
  const answer = await inspect`docker manifest inspect --insecure ${image}`.catch(error => ({
    exitCode: 1,
    stderr: messageOf(error),
  }))
  return answer.exitCode !== 0 && noAnswer.test(answer.stderr) ? answer.stderr.trim() : undefined
}

/** Runs `action` with variables added to the environment of every command in it. */
function withEnvironment<T>(env: Record<string, string>, action: () => Promise<T>): Promise<T> {
  return within(async () => {
    zx.env = { ...zx.env, ...env }
    return action()
  })
}
