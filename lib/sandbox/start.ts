import { homedir } from 'node:os'
import { join } from 'node:path'
import { loadPlatform, type Service } from '../platform/platform.ts'
import type { SupplyOptions } from '../supply/cache.ts'
import { root } from '../system/checkout.ts'
import { PlatformError } from '../system/errors.ts'
import type { StepProgress } from '../system/progress.ts'
import { counted } from '../system/text.ts'
import {
  applicationBase,
  bringKubectl,
  buildClusterStandIns,
  clusterImages,
  settleForStandIns,
  writeKindFile,
} from './cluster.ts'
import { type EngineOptions, engineEnvironment, enginePrograms, outsideAddress, startEngine } from './engine.ts'
import { type LaterImages, supplyImages } from './engine-images.ts'
import { type Namespace, startNamespace } from './namespace.ts'
import { bringPackages, fetchPackages } from './packages.ts'
import { prune } from './prune.ts'
import { supplyReport } from './report.ts'
import { askInside, pathsInside, rememberSandbox, runInside, sandboxEnvironment } from './sandbox.ts'
import { type SandboxState, type Store, writeState } from './store.ts'

/** A sandbox on its way up; its steps in the order in which they have to be taken. */
export interface Sandbox {
  /** The private copy of the machine, with an engine that answers. */
  raise(progress: StepProgress): Promise<string>
  /** Settings of its own, and the images in its engine, less those that take minutes to make. */
  supply(progress: StepProgress): Promise<string>
  /** Services whose image is still being made. */
  later(): string[]
  /** Waits until one more of these services has its image, and names those that have it now. */
  supplyNext(services: readonly string[], progress: StepProgress): Promise<string>
  /** Waits for the images of the cluster, where the sandbox has one; they are made while other steps go on. */
  supplyCluster(progress: StepProgress): Promise<string>
  /**
   * The ordinary workflow, inside, less the services that have no image yet: these are returned. It speaks on stderr, and throws when it
   * fails, after it has said why itself.
   */
  runWorkflow(words: readonly string[]): Promise<string[]>
  isUp(): boolean
  /** Lets it live on without this process. */
  keep(): Promise<SandboxState>
  /** Ends all of it, at any point; twice is as good as once. */
  end(): Promise<void>
  readonly state: SandboxState
}

export interface SandboxOptions {
  store: Store
  cacheDir: string
  /** What this process was started with. */
  environment: NodeJS.ProcessEnv
  /** Groups of services, comma separated; undefined = all. */
  only: string | undefined
  /** Whether it gets the images of a cluster, too. */
  cluster?: boolean
  /** More variables for everything that runs inside. */
  variables?: Record<string, string>
  warn: (text: string) => void
}

/** Makes nothing yet. */
export function sandboxOf({
  store,
  cacheDir,
  environment,
  only,
  cluster = false,
  variables,
  warn,
}: SandboxOptions): Sandbox {
  const path = environment.PATH ?? ''
  const { report, during } = supplyReport()
  // nobody waits for what is still being built when the sandbox ends
  const builds = new AbortController()
  const supply: SupplyOptions = { cacheDir, report, signal: builds.signal }
  let raised: { namespace: Namespace; engine: EngineOptions; state: SandboxState } | undefined
  /** The images of services, and those of the cluster after them, on their way. */
  let services: Service[] = []
  let images: LaterImages | undefined
  let ofCluster: Promise<string> | undefined
  const later = () => {
    const lacking = images?.names() ?? []
    return services.filter(({ image }) => lacking.includes(image)).map(({ name }) => name)
  }
  const up = () => {
    if (raised) return raised
    throw new PlatformError(`The sandbox ${store.name} is not up`, { hint: 'task sandbox' })
  }

  return {
    get state() {
      return up().state
    },
    async raise(progress) {
      const programs = await during(progress, () => enginePrograms(supply))
      const packages = await fetchPackages(store, progress.update)
      progress.update('making namespaces')
      const namespace = await startNamespace(store, [store.folder, root, '/tmp'])
      const engine = { store, programs, environment: engineEnvironment(programs, path) }
      const inside = {
        ...sandboxEnvironment(store, engine.environment),
        ...(only ? { MACULA_ONLY: only } : {}),
        ...variables,
      }
      // from here on `end` knows of it, whatever happens
      raised = { namespace, engine, state: await rememberSandbox(store, namespace, inside) }
      await bringPackages(store, namespace, packages)
      progress.update('starting the engine')
      await startEngine(namespace, engine)
      return 'created'
    },
    async supply(progress) {
      const { namespace, engine, state } = up()
      await runInside(state, ['node', 'lib/cli/launch.mjs', 'configure', '--yes'])
      const inside = pathsInside(state)
      const docker = { host: outsideAddress(namespace), programs: engine.programs }
      const platform = await loadPlatform(inside, { ...environment, ...state.environment })
      const onlyPulled = cluster ? await clusterImages(platform) : []
      const supplied = await during(progress, () =>
        supplyImages(namespace, engine, {
          images: [...platform.services.map(({ image }) => image), ...(cluster ? [applicationBase] : [])],
          onlyPulled,
          mirror: platform.settings.IMAGE_MIRROR,
          path,
          login: join(environment.DOCKER_CONFIG || join(homedir(), '.docker'), 'config.json'),
          supply,
          progress,
          warn,
        }),
      )
      services = platform.services
      images = supplied.later
      if (cluster) await writeKindFile(inside, {})
      if (supplied.lacking.length > 0) {
        await settleForStandIns(inside)
        ofCluster = allOf(supplied.later)
          .then(() => buildClusterStandIns({ ...supply, docker, path }))
          .then(() => 'stand-ins')
        // whoever waits for it hears of a failure; until somebody does, it must not end the process
        ofCluster.catch(() => {})
      }
      const { builds: oldBuilds, images: oldImages } = await prune({ ...supply, docker, path })
      if (oldBuilds.length + oldImages.length > 0)
        progress.line(
          `removed ${counted(oldBuilds.length, 'old build')} and ${counted(oldImages.length, 'old image')}: no recipe makes them any more`,
        )
      const parts = [
        supplied.pulled > 0 ? `${counted(supplied.pulled, 'image')} pulled` : '',
        supplied.standIns > 0 ? `${counted(supplied.standIns, 'stand-in')}` : '',
        supplied.present > 0 ? `${supplied.present} there` : '',
        later().length > 0 ? `later: ${later().join(', ')}` : '',
      ]
      return parts.filter(Boolean).join(', ')
    },
    later,
    async supplyNext(services, progress) {
      const found = () => services.filter(name => !later().includes(name))
      await during(progress, async () => {
        while (found().length === 0) await images?.next()
      })
      return found().join(', ')
    },
    supplyCluster: progress =>
      during(progress, async () => {
        const outcome = (await ofCluster) ?? 'unchanged'
        await bringKubectl(up().state, outcome !== 'unchanged', supply)
        return outcome
      }),
    async runWorkflow(words) {
      const { state } = up()
      const command = ['bash', '-c', 'exec "$@" >&2', 'workflow', 'node', 'lib/cli/launch.mjs', ...words]
      const leftOut = later()
      const env = { MACULA_LATER: leftOut.join(',') }
      const { exitCode } = await askInside(state, command, { inherit: true, env })
      if (exitCode === 0) return leftOut
      throw new PlatformError(`\`${words.join(' ')}\` failed inside the sandbox`, {
        hint: 'task sandbox -- --keep   # leaves it up to look at',
        exitCode: exitCode ?? 1,
      })
    },
    isUp: () => raised !== undefined,
    async keep() {
      const { namespace, state } = up()
      builds.abort()
      const kept = { ...state, kept: true }
      await writeState(store, kept)
      await namespace.keep()
      return kept
    },
    async end() {
      builds.abort()
      await raised?.namespace.end()
      raised = undefined
    },
  }
}

async function allOf(images: LaterImages): Promise<void> {
  while (images.names().length > 0) await images.next()
}
