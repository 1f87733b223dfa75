import type { Platform } from '../platform/platform.ts'
import { PlatformError } from '../system/errors.ts'
import { $, type Command } from '../system/exec.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import { compose, hasRenderedFiles } from './compose.ts'
import { type Container, describeContainer, isHealthy, lastLogLines, projectContainers } from './docker.ts'
import { HungEngine } from './engine.ts'
import { keepHashes, serviceHashes } from './service-hashes.ts'

/** What a start reports while it goes on. */
export interface StartProgress {
  /** Services that are not ready yet. */
  waitingFor(services: readonly string[]): void
  /** A service became ready; seconds since the start of the whole. */
  ready(service: string, seconds: number): void
}

/** The platform with just the services that can be started now: less `paths.laterServices` and what depends on them. */
export function startableNow(platform: Platform): Platform {
  const later = new Set(platform.paths.laterServices)
  const dependsOn = (name: string) =>
    platform.composeFiles.flatMap(({ content }) => {
      const needed = content.services?.[name]?.depends_on ?? []
      return Array.isArray(needed) ? needed : Object.keys(needed)
    })
  for (let found = -1; found !== later.size; ) {
    found = later.size
    for (const { name } of platform.services) if (dependsOn(name).some(needed => later.has(needed))) later.add(name)
  }
  return { ...platform, services: platform.services.filter(({ name }) => !later.has(name)) }
}

/** The slowest service may take this long from created to healthy: TimescaleDB's first start on a slow disk takes about a minute. */
const readyTimeoutMs = 180_000

/** Whether every service has one of these containers, ready; says nothing about whether the containers are as described now. */
export function areReady({ services }: Platform, containers: readonly Container[]): boolean {
  return services.every(({ name }) => isReady(containers.find(({ service }) => service === name)))
}

/**
 * Starts what is not running and recreates what is described differently now, with `up`, and waits until every container is healthy, or running
 * where it has no healthcheck. Containers of services that are gone are removed, with their anonymous volumes. `seen` are the containers
 * as they were a moment ago. Returns what changed, and the containers as they are then. Throws at once when `up` fails, or when a container ends,
 * with its last log lines; also when time is up. Whichever of `up` and the wait fails ends the other.
 */
export async function startContainers(
  platform: Platform,
  seen: readonly Container[],
  progress: StartProgress,
  up: (services: readonly string[], signal: AbortSignal) => Command,
): Promise<{ outcome: 'unchanged' | 'created' | 'updated'; containers: readonly Container[] }> {
  if (await areAsDescribed(platform, seen)) return { outcome: 'unchanged', containers: seen }
  const before = await projectContainers(platform)
  await removeOrphans(platform, before)
  const failure = new AbortController()
  const start: Start = { platform, before, progress, startedAt: performance.now(), upEnded: false }
  const started = up(
    platform.services.map(({ name }) => name),
    failure.signal,
  ).then(
    () => {
      start.upEnded = true
    },
    // where the engine is gone, looking says so, and what to do
    async error => failure.abort((await endedSince(before, platform).catch(looking => looking)) ?? error),
  )
  try {
    const containers = await waitUntilReady(start, failure)
    const hashOf = ({ service, labels }: Container) =>
      [service, labels['com.docker.compose.config-hash'] ?? ''] as const
    // a container that `up` was not told of may be described differently now
    const started = containers.filter(({ service }) => platform.services.some(({ name }) => name === service))
    await keepHashes(platform, new Map(started.map(hashOf)))
    return { outcome: changeBetween(before, containers), containers }
  } finally {
    if (!start.upEnded) failure.abort()
    await started
  }
}

// Compose does the same when asked to, but leaves the anonymous volumes behind, which nothing ever uses again
async function removeOrphans({ composeFiles }: Platform, containers: readonly Container[]): Promise<void> {
  const orphans = containers.filter(
    ({ service }) => !composeFiles.some(({ content }) => content.services?.[service] !== undefined),
  )
  if (orphans.length > 0) await $`docker rm --force --volumes ${orphans.map(({ id }) => id)}`
}

/** Whether there is nothing for Compose to do: it labels each container with the hash of its description, and prints what the hash would be now. */
async function areAsDescribed(platform: Platform, containers: readonly Container[]): Promise<boolean> {
  if (containers.length !== platform.services.length || !containers.every(isReady)) return false
  const names = containers.map(({ image }) => image)
  const [described, images] = await Promise.all([
    serviceHashes(platform),
    $({ nothrow: true })`docker image inspect --format ${'{{.Id}}'} ${names}`,
  ])
  const ids = images.lines()
  return containers.every(
    ({ service, labels, imageId }, index) =>
      labels['com.docker.compose.config-hash'] === described.get(service) && imageId === ids[index],
  )
}

/** One start, while it goes on. */
interface Start {
  platform: Platform
  before: readonly Container[]
  progress: StartProgress
  /** In the time of performance.now(). */
  startedAt: number
  /** Whether Compose has done its work. */
  upEnded: boolean
}

async function waitUntilReady(start: Start, failure: AbortController): Promise<readonly Container[]> {
  const wanted = start.platform.services.map(({ name }) => name)
  const reported = new Set(start.before.filter(isReady).map(({ id }) => id))
  let present: Container[] = []
  const waiting = () => wanted.filter(name => !isReady(present.find(({ service }) => service === name)))
  return waitFor(
    async () => {
      const { upEnded } = start
      const containers = await projectContainers(start.platform).catch(error => stopAtHung(error, failure))
      // what else there is belongs to services that are gone, or was not to be started
      present = containers.filter(({ service }) => wanted.includes(service))
      const ended = present.find(container => hasEnded(container, start.before, upEnded))
      if (ended) failure.abort(await endedError(ended))
      for (const { id, service } of present.filter(isReady).filter(({ id }) => !reported.has(id))) {
        reported.add(id)
        start.progress.ready(service, (performance.now() - start.startedAt) / 1000)
      }
      if (upEnded && waiting().length === 0) return containers
      start.progress.waitingFor(waiting())
      return new NotYet(waiting().join(', '))
    },
    {
      timeoutMs: readyTimeoutMs,
      // A look costs a tenth of a second of one processor, and Compose needs them all. Once that is done, the wait is for health checks.
      pauseMs: () => (start.upEnded ? 300 : 700),
      signal: failure.signal,
      onTimeout: () => lateError(waiting(), present),
    },
  )
}

/** The wait goes on after a look that failed, but an engine that hangs starts nothing more. */
function stopAtHung(error: unknown, failure: AbortController): never {
  if (error instanceof HungEngine) failure.abort(error)
  throw error
}

/** Healthy, or a job of the user's that has done its work. A service that somebody has stopped ends with 0, too, and is to be started. */
function isReady(container: Container | undefined): boolean {
  const hasDoneItsWork = container?.state === 'exited' && container.exitCode === 0 && container.isKeptRunning !== true
  return isHealthy(container) || hasDoneItsWork
}

/** A container that has ended since we began; `restart: unless-stopped` would hide it behind endless attempts. */
function hasEnded(container: Container, before: readonly Container[], upEnded: boolean): boolean {
  const known = before.find(({ id }) => id === container.id)
  if (container.state === 'exited' || container.state === 'dead') {
    if (container.exitCode === 0) return false
    // Compose itself ends the old containers that it replaces, and those that depend on them, for as long as it is at work
    return known === undefined || (upEnded && known.state === 'running')
  }
  return container.state === 'restarting' || container.restartCount > (known?.restartCount ?? 0)
}

/** The error for a container that ended while Compose was at work, and so made it fail; undefined where none did. */
async function endedSince(before: readonly Container[], platform: Platform): Promise<PlatformError | undefined> {
  const ended = (await projectContainers(platform)).find(container => hasEnded(container, before, true))
  return ended && endedError(ended)
}

async function endedError(container: Container): Promise<PlatformError> {
  // the engine has started it again meanwhile, and forgotten the exit code over that
  const again = container.state === 'running'
  const how = again ? 'and had to be started again' : `with exit code ${container.exitCode}`
  return new PlatformError(`${container.name} ended ${how}, right after its start`, {
    why: await lastLogLines(container.name, 15),
    hint: `task logs -- ${container.service}`,
  })
}

async function lateError(waiting: readonly string[], present: readonly Container[]): Promise<PlatformError> {
  const [first = ''] = waiting
  const containerOf = (name: string) => present.find(({ service }) => service === name)
  const states = waiting.map(service => `${service}: ${describeContainer(containerOf(service))}`)
  const lines = await lastLogLines(containerOf(first)?.name ?? first, 15)
  return new PlatformError(`Not ready after ${readyTimeoutMs / 1000} s: ${waiting.join(', ')}`, {
    why: [...states, `Last log lines of ${first}:`, lines].join('\n'),
    hint: `task logs -- ${first}`,
  })
}

function changeBetween(before: readonly Container[], after: readonly Container[]): 'unchanged' | 'created' | 'updated' {
  const keyOf = ({ id, startedAt }: Container) => `${id} ${startedAt?.toISOString()}`
  const known = new Set(before.map(keyOf))
  if (before.length === 0) return 'created'
  return before.length === after.length && after.every(container => known.has(keyOf(container)))
    ? 'unchanged'
    : 'updated'
}

/** Stops the containers and keeps them, their data included. */
export async function stopContainers(platform: Platform): Promise<'unchanged' | 'updated'> {
  const containers = await projectContainers(platform)
  const running = containers.filter(({ state }) => state !== 'exited' && state !== 'created').map(({ id }) => id)
  if (running.length === 0) return 'unchanged'
  const options = { timeout: stopTimeout } as const
  // without the rendered files there is nothing to tell Compose of its order and its hooks
  if (await hasRenderedFiles(platform.paths)) await compose(platform)(options)`docker compose stop`
  else await $(options)`docker stop ${running}`
  return 'updated'
}

/** Docker gives each container 10 s, or its own grace period; Compose stops those that depend on others first. */
const stopTimeout = '2m' as const
