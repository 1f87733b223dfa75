import { setTimeout as pause } from 'node:timers/promises'
import { pruneGoCaches } from '../supply/go.ts'
import type { StepProgress } from '../system/progress.ts'
import { applicationBase, bringKubectl } from './cluster.ts'
import type { LaterImages } from './engine-images.ts'
import { requireUp, type Sandbox } from './making.ts'
import { allProgramsBuilt } from './programs.ts'

// What is still being made while the sandbox is in use already.

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

/** Waits until none of these is being made any more. */
export async function allOf(images: LaterImages): Promise<void> {
  while (images.pending().length > 0) await images.next()
}
