import type { Service } from '../platform/platform.ts'
import type { SupplyOptions } from '../supply/cache.ts'
import type { ImageArchive } from '../supply/image-archive.ts'
import { PlatformError } from '../system/errors.ts'
import type { ClusterStandIns } from './cluster.ts'
import type { EngineOptions } from './engine.ts'
import type { LaterImages } from './engine-images.ts'
import type { Namespace } from './namespace.ts'
import { type SupplyReport, supplyReport } from './report.ts'
import type { SandboxState, Store } from './store.ts'

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

/** A sandbox on its way up; `start.ts` has the steps, in the order in which they have to be taken. */
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
