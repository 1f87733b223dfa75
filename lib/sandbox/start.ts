import { homedir } from 'node:os'
import { join } from 'node:path'
import { loadPlatform, type Platform, webServer } from '../platform/platform.ts'
import { root } from '../system/checkout.ts'
import { PlatformError } from '../system/errors.ts'
import type { StepProgress } from '../system/progress.ts'
import { counted, bytes as size } from '../system/text.ts'
import {
  announceClusterStandIns,
  applicationBase,
  buildClusterStandIns,
  type ClusterStandIns,
  clusterImages,
  clusterStandIns,
  settleForStandIns,
  writeKindFile,
} from './cluster.ts'
import { engineEnvironment, enginePrograms, outsideAddress, startEngine } from './engine.ts'
import { type LaterImages, type Supplied, supplyImages } from './engine-images.ts'
import { allOf, servicesWithoutImage } from './later.ts'
import { requireUp, type Sandbox, type SandboxOptions } from './making.ts'
import { startNamespace } from './namespace.ts'
import { bringPackages, fetchPackages, waitForPackageManager } from './packages.ts'
import { prune, pruneCache } from './prune.ts'
import { type Inside, pathsInside, rememberSandbox, sandboxEnvironment, sandboxShell } from './sandbox.ts'
import type { StandInOptions } from './standins.ts'
import { writeState } from './store.ts'

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
