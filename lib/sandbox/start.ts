import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { loadPlatform, type Platform, type Service, webServer } from '../platform/platform.ts'
import type { SupplyOptions } from '../supply/cache.ts'
import { pruneGoCaches } from '../supply/go.ts'
import type { ImageArchive } from '../supply/image-archive.ts'
import { root } from '../system/checkout.ts'
import { PlatformError } from '../system/errors.ts'
import type { StepProgress } from '../system/progress.ts'
import { counted, bytes as size } from '../system/text.ts'
import {
  announceClusterStandIns,
  applicationBase,
  bringKubectl,
  buildClusterStandIns,
  type ClusterStandIns,
  clusterImages,
  clusterStandIns,
  settleForStandIns,
  writeKindFile,
} from './cluster.ts'
import { type EngineOptions, engineEnvironment, enginePrograms, outsideAddress, startEngine } from './engine.ts'
import { type LaterImages, type Supplied, supplyImages } from './engine-images.ts'
import { type Namespace, startNamespace } from './namespace.ts'
import { bringPackages, fetchPackages, waitForPackageManager } from './packages.ts'
import { allProgramsBuilt } from './programs.ts'
import { prune, pruneCache } from './prune.ts'
import { type SupplyReport, supplyReport } from './report.ts'
import { type Inside, pathsInside, rememberSandbox, sandboxEnvironment, sandboxShell } from './sandbox.ts'
import type { StandInOptions } from './standins.ts'
import { type SandboxState, type Store, writeState } from './store.ts'

export interface SandboxOptions {
  store: Store
  cacheDir: string
  /** What this process was started with. */
  environment: NodeJS.ProcessEnv
  /** Groups of services, comma separated; undefined = all. */
  only: string | undefined
  /** Whether it gets the images of a cluster, too. */
  cluster?: boolean
  /** Files that images are loaded from, before anything is pulled or built. */
  archives?: readonly ImageArchive[]
  /** More variables for everything that runs inside. */
  variables?: Record<string, string>
  warn: (text: string) => void
}

/** A sandbox on its way up. The functions below are its steps, in the order in which they have to be taken. */
export interface Sandbox {
  options: SandboxOptions
  supply: SupplyOptions
  watch: SupplyReport
  /** Nobody waits for what is still being built when the sandbox ends. */
  builds: AbortController
  /** What is up. */
  up?: Up
  /** Those of the settings, once they are known; the images of some may still be made. */
  services: Service[]
  later?: LaterImages
  /** Those images of the cluster that are made here, while other steps go on. */
  clusterStandIns?: ClusterStandIns & { made: Promise<void>; areMade: boolean }
}

interface Up {
  namespace: Namespace
  engine: EngineOptions
  state: SandboxState
}

/** Makes nothing yet. */
export function newSandbox(options: SandboxOptions): Sandbox {
  const watch = supplyReport()
  const builds = new AbortController()
  const supply = { cacheDir: options.cacheDir, report: watch.report, signal: builds.signal }
  return { options, supply, watch, builds, services: [] }
}

/** What is up of it. Throws where nothing is. */
export function requireUp({ up, options }: Sandbox): Up {
  if (up) return up
  throw new PlatformError(`The sandbox ${options.store.name} is not up`, { hint: 'task sandbox' })
}

/** Starts the private copy of the machine, with an engine that answers. */
export async function startSandbox(sandbox: Sandbox, progress: StepProgress): Promise<'created'> {
  const { options, supply, watch } = sandbox
  const { store } = options
  const programs = await watch.during(progress, () => enginePrograms(supply))
  const packages = await fetchPackages(store, progress.update)
  await waitForPackageManager(progress.update)
  progress.update('making namespaces')
  const namespace = await startNamespace(store, [store.folder, root, '/tmp'])
  const engine = { store, programs, environment: engineEnvironment(programs, pathOf(options)) }
  const inside = {
    ...sandboxEnvironment(store, engine.environment),
    ...(options.only ? { MACULA_ONLY: options.only } : {}),
    ...options.variables,
  }
  // from here on endSandbox knows of it, whatever happens
  sandbox.up = { namespace, engine, state: await rememberSandbox(store, namespace, inside) }
  await bringPackages(store, namespace, packages)
  progress.update('starting the engine')
  await startEngine(namespace, engine)
  return 'created'
}

/** Gives it settings of its own, and its engine the images, without waiting for those that take minutes to make. */
export async function supplySandbox(sandbox: Sandbox, progress: StepProgress): Promise<string> {
  const { state } = requireUp(sandbox)
  await sandboxShell(state)({ timeout: '2m' })`node lib/cli/launch.mjs configure --yes`
  const platform = await platformInside(sandbox, state)
  if (sandbox.options.cluster) await writeKindFile(pathsInside(state), {})
  const supplied = await sandbox.watch.during(progress, () => supplyImagesOf(sandbox, platform, progress))
  sandbox.services = platform.services
  sandbox.later = supplied.later
  if (supplied.lacking.length > 0)
    await buildClusterLater(sandbox, await clusterStandIns(platform, supplied.lacking), supplied.later)
  await pruneOld(sandbox, progress)
  return told(supplied, servicesWithoutImage(sandbox))
}

/** Names of services whose image is still being made, or could not be. */
export function servicesWithoutImage({ services, later }: Sandbox): string[] {
  const images = later?.names() ?? []
  return services.filter(({ image }) => images.includes(image)).map(({ name }) => name)
}

/** Those of them whose image is being made; the others of `servicesWithoutImage` could not be had. */
export function servicesToCome({ services, later }: Sandbox): string[] {
  const images = later?.pending() ?? []
  return services.filter(({ image }) => images.includes(image)).map(({ name }) => name)
}

/** A service that does not run as its image would have it. */
export interface FailedService {
  service: string
  error: Error
  /** `placeholder`: it answers its health check, and nothing else. */
  instead: 'placeholder' | 'nothing'
}

/** The services whose images could not be made, and why. */
export function failedServices(sandbox: Sandbox): FailedService[] {
  const failures = sandbox.later?.failures() ?? new Map<string, Error>()
  const lacking = servicesWithoutImage(sandbox)
  return sandbox.services.flatMap(({ name, image }) => {
    const error = failures.get(image)
    if (error === undefined) return []
    return [{ service: name, error, instead: lacking.includes(name) ? 'nothing' : 'placeholder' }]
  })
}

/** An image on a file system that is there takes less. */
const batchMs = 5000

/** Waits until one more service has its image, or cannot have it, and names those that have it now. */
export async function supplyNext(sandbox: Sandbox, progress: StepProgress): Promise<string> {
  const before = servicesToCome(sandbox)
  const settled = () => before.filter(name => !servicesToCome(sandbox).includes(name))
  await sandbox.watch.during(progress, async () => {
    while (settled().length === 0 && servicesToCome(sandbox).length > 0) await sandbox.later?.next()
    // those on the same file system come within seconds of each other; each start of services takes some, too
    for (let before = -1; before !== settled().length && servicesToCome(sandbox).length > 0; ) {
      before = settled().length
      await Promise.race([sandbox.later?.next(), pause(batchMs)])
    }
  })
  const lacking = servicesWithoutImage(sandbox)
  const replaced = failedServices(sandbox).map(({ service }) => service)
  return settled()
    .map(name =>
      lacking.includes(name) ? `${name} failed` : replaced.includes(name) ? `placeholder for ${name}` : name,
    )
    .join(', ')
}

/** Waits for the images of the cluster, and gives the sandbox a kubectl. */
export function supplyCluster(sandbox: Sandbox, progress: StepProgress): Promise<'stand-ins' | 'unchanged'> {
  return sandbox.watch.during(progress, async () => {
    const { clusterStandIns, later } = sandbox
    if (later !== undefined) await allOf(later)
    const failure = later?.failures().get(applicationBase)
    if (failure !== undefined) throw failure
    await clusterStandIns?.made
    await bringKubectl(requireUp(sandbox).state, clusterStandIns?.nodes === true, sandbox.supply)
    return clusterStandIns ? 'stand-ins' : 'unchanged'
  })
}

/** Whether images of the cluster are still being made, so that there is time to build the applications. */
export function isClusterToCome({ clusterStandIns }: Sandbox): boolean {
  return clusterStandIns?.areMade === false
}

/** Waits for the image that applications are built on; false where it cannot be had, which `supplyCluster` reports. */
export async function supplyApplicationBase({ watch, later }: Sandbox, progress: StepProgress): Promise<boolean> {
  await watch.during(progress, async () => {
    while (later?.pending().includes(applicationBase)) await later.next()
  })
  return later?.failures().get(applicationBase) === undefined
}

/**
 * Removes what compiling has left, once every program is there; returns the bytes that are free again. A hundred thousand files take a
 * while: other work need not wait for it.
 */
export async function freeSpace({ supply, options }: Sandbox): Promise<number> {
  return (await allProgramsBuilt(supply)) ? pruneGoCaches(options.cacheDir) : 0
}

/**
 * Runs the ordinary workflow inside, less the services that have no image yet: these are returned. It speaks on stderr. Throws when it fails,
 * after it has said why itself.
 */
export async function runWorkflow(sandbox: Sandbox, words: readonly string[]): Promise<string[]> {
  const leftOut = servicesWithoutImage(sandbox)
  const $ = sandboxShell(requireUp(sandbox).state)
  const env = { MACULA_LATER: leftOut.join(',') }
  const { exitCode } = await $({ inherit: true, nothrow: true, env })`node lib/cli/launch.mjs ${words} >&2`
  if (exitCode === 0) return leftOut
  throw new PlatformError(`\`${words.join(' ')}\` failed inside the sandbox`, {
    hint: 'task sandbox -- --keep   # leaves it up to look at',
    exitCode: exitCode ?? 1,
  })
}

/** Lets it live on without this process. */
export async function keepSandbox(sandbox: Sandbox): Promise<void> {
  const { namespace, state } = requireUp(sandbox)
  sandbox.builds.abort()
  await writeState(sandbox.options.store, { ...state, kept: true })
  await namespace.keep()
}

/** Ends all of it, at any point; calling it twice is as good as once. */
export async function stopSandbox(sandbox: Sandbox): Promise<void> {
  sandbox.builds.abort()
  await sandbox.up?.namespace.end()
  delete sandbox.up
}

function pathOf({ environment }: SandboxOptions): string {
  return environment.PATH ?? ''
}

function platformInside({ options }: Sandbox, state: Inside): Promise<Platform> {
  return loadPlatform(pathsInside(state), { ...options.environment, ...state.environment })
}

async function supplyImagesOf(sandbox: Sandbox, platform: Platform, progress: StepProgress): Promise<Supplied> {
  const { options, supply } = sandbox
  const { namespace, engine } = requireUp(sandbox)
  const images = platform.services.map(({ image }) => image)
  return supplyImages(namespace, engine, {
    images: [...images, ...(options.cluster ? [applicationBase] : [])],
    // the portal says what else is up
    first: platform.services.filter(({ name }) => name === webServer).map(({ image }) => image),
    onlyPulled: options.cluster ? await clusterImages(platform) : [],
    archives: options.archives ?? [],
    mirror: platform.settings.IMAGE_MIRROR,
    path: pathOf(options),
    login: join(options.environment.DOCKER_CONFIG || join(homedir(), '.docker'), 'config.json'),
    supply,
    progress,
    warn: options.warn,
  })
}

/** Lets the settings name a cluster of stand-ins, and makes their images when those of the services are done. */
async function buildClusterLater(sandbox: Sandbox, wanted: ClusterStandIns, services: LaterImages): Promise<void> {
  await settleForStandIns(pathsInside(requireUp(sandbox).state), wanted)
  await announceClusterStandIns(wanted, standInOptions(sandbox))
  const made = allOf(services).then(() => buildClusterStandIns(wanted, standInOptions(sandbox)))
  const standIns = { ...wanted, made, areMade: false }
  // a failure is reported by supplyCluster; until then an unhandled rejection must not end the process
  const ignored = () => {}
  made.then(() => {
    standIns.areMade = true
  }, ignored)
  sandbox.clusterStandIns = standIns
}

async function pruneOld(sandbox: Sandbox, progress: StepProgress): Promise<void> {
  const { cacheDir, store } = sandbox.options
  for (const { what, bytes } of await pruneCache(cacheDir, store.name, { onlyOld: true }))
    progress.line(`removed ${what}: ${size(bytes)}`)
  const { builds, images } = await prune(standInOptions(sandbox))
  if (builds.length + images.length === 0) return
  const what = `${counted(builds.length, 'old build')} and ${counted(images.length, 'old image')}`
  progress.line(`removed ${what}: no recipe makes them any more`)
}

function standInOptions(sandbox: Sandbox): StandInOptions {
  const { namespace, engine } = requireUp(sandbox)
  const docker = { host: outsideAddress(namespace), programs: engine.programs }
  return { ...sandbox.supply, docker, path: pathOf(sandbox.options) }
}

function told({ fromFiles, pulled, standIns, present }: Supplied, later: readonly string[]): string {
  const parts = [
    fromFiles > 0 ? `${counted(fromFiles, 'image')} from files` : '',
    pulled > 0 ? `${counted(pulled, 'image')} pulled` : '',
    standIns > 0 ? counted(standIns, 'stand-in') : '',
    present > 0 ? `${present} there` : '',
    later.length > 0 ? `later: ${later.join(', ')}` : '',
  ]
  return parts.filter(Boolean).join(', ')
}

async function allOf(images: LaterImages): Promise<void> {
  while (images.pending().length > 0) await images.next()
}
