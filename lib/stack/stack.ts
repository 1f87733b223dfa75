import { chmod, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Platform } from '../platform/platform.ts'
import { writeIfChanged } from '../platform/render.ts'
import { PlatformError } from '../system/errors.ts'
import { ask, run } from '../system/exec.ts'
import { compose, renderComposeFiles } from './compose.ts'
import { renderConfigs } from './config/configs.ts'
import { type Container, describeContainer, isWell, lastLogLines, projectContainers } from './docker.ts'

/** What a start reports while it goes on. */
export interface StartProgress {
  /** Services that are not ready yet. */
  waitingFor(services: readonly string[]): void
  /** A service became ready; seconds since the start of the whole. */
  ready(service: string, seconds: number): void
}

/**
 * Writes everything the stack is run from into the state folder: configurations, secrets, compose files. Files that nothing renders any
 * more are removed. Returns the paths that changed, relative to the state folder.
 */
export async function writeStackFiles(
  platform: Platform,
  extraPorts: Readonly<Record<string, readonly string[]>>,
): Promise<string[]> {
  const { stateDir } = platform.paths
  const configs = await renderConfigs(platform)
  const files = [...configs, ...renderComposeFiles(platform, configs, extraPorts)]
  // containers run as many users, so the secrets are readable for all who get here; the folder lets in nobody but the owner
  const secrets = join(stateDir, 'secrets')
  await mkdir(secrets, { recursive: true })
  await chmod(secrets, 0o700)
  const changed: string[] = []
  for (const { path, content, mode } of files) {
    if ((await writeIfChanged(join(stateDir, path), content, mode)) !== 'unchanged') changed.push(path)
  }
  const wanted = new Set(files.map(({ path }) => path))
  for (const path of await filesBelow(stateDir, ['config', 'secrets'])) {
    if (wanted.has(path)) continue
    await rm(join(stateDir, path), { force: true })
    changed.push(path)
  }
  return changed
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

/** Seconds that the slowest service may take from created to healthy: TimescaleDB's first start on a slow disk takes about a minute. */
const readyDeadline = 180

/** Whether every service has one of these containers, ready; says nothing of how the containers are described now. */
export function areReady({ services }: Platform, containers: readonly Container[]): boolean {
  return services.every(({ name }) => isReady(containers.find(({ service }) => service === name)))
}

/**
 * Starts what is not running and recreates what is described differently now; waits until every container is healthy, or running where it
 * has no healthcheck. Containers of services that are gone are removed, with the volumes that nobody has given a name. `seen` are the containers
 * as they were a moment ago. Returns what changed. A container that ends meanwhile is an error at once, with its last words; so is the deadline.
 */
export async function startContainers(
  platform: Platform,
  seen: readonly Container[],
  progress: StartProgress,
): Promise<'unchanged' | 'created' | 'updated'> {
  if (await areAsDescribed(platform, seen)) return 'unchanged'
  const before = await projectContainers(platform)
  const started = performance.now()
  await removeOrphans(platform, before)
  let upEnded = false
  const services = platform.services.map(({ name }) => name)
  const up = compose(platform, ['up', '--detach', '--quiet-pull', '--pull', 'missing', ...services]).finally(() => {
    upEnded = true
  })
  await Promise.all([up, waitUntilReady(platform, before, () => upEnded, started, progress)])
  return changeBetween(before, await projectContainers(platform))
}

// Compose does the same when asked to, but leaves the volumes of images behind, which nobody ever uses again
async function removeOrphans({ composeFiles }: Platform, containers: readonly Container[]): Promise<void> {
  const orphans = containers.filter(
    ({ service }) => !composeFiles.some(({ content }) => content.services?.[service] !== undefined),
  )
  if (orphans.length > 0) await run(['docker', 'rm', '--force', '--volumes', ...orphans.map(({ id }) => id)])
}

/** Whether there is nothing for Compose to do: it labels each container with the hash of its description, and tells what the hash would be now. */
async function areAsDescribed(platform: Platform, containers: readonly Container[]): Promise<boolean> {
  if (containers.length !== platform.services.length || !containers.every(isReady)) return false
  const [hashes, images] = await Promise.all([
    compose(platform, ['config', '--hash', '*']),
    ask(['docker', 'image', 'inspect', '--format', '{{.Id}}', ...containers.map(({ image }) => image)]),
  ])
  const described = new Map(hashes.stdout.split('\n').map(line => line.split(' ') as [string, string]))
  const ids = images.stdout.split('\n')
  return containers.every(
    ({ service, labels, imageId }, index) =>
      labels['com.docker.compose.config-hash'] === described.get(service) && imageId === ids[index],
  )
}

async function waitUntilReady(
  platform: Platform,
  before: readonly Container[],
  upEnded: () => boolean,
  started: number,
  progress: StartProgress,
): Promise<void> {
  const seconds = () => (performance.now() - started) / 1000
  const wasReady = new Set(before.filter(isReady).map(({ id }) => id))
  const wanted = new Set(platform.services.map(({ name }) => name))
  const ready = new Set<string>()
  for (;;) {
    const finished = upEnded()
    // what else there is belongs to services that are gone, and Compose is about to remove it
    const containers = (await projectContainers(platform)).filter(({ service }) => wanted.has(service))
    const present = new Map(containers.map(container => [container.service, container]))
    for (const container of containers) {
      if (hasEnded(container, before, finished)) throw await endedError(container)
      if (!isReady(container) || ready.has(container.service)) continue
      ready.add(container.service)
      if (!wasReady.has(container.id)) progress.ready(container.service, seconds())
    }
    const waiting = platform.services.filter(({ name }) => !isReady(present.get(name))).map(({ name }) => name)
    if (finished && waiting.length === 0) return
    if (seconds() > readyDeadline) throw await lateError(waiting, present)
    progress.waitingFor(waiting)
    // short against a start of some seconds, long against the 50 ms that asking costs
    await new Promise(resolve => setTimeout(resolve, 300))
  }
}

/** Well, or a job of the user's that has done its work. */
function isReady(container: Container | undefined): boolean {
  return isWell(container) || (container?.state === 'exited' && container.exitCode === 0)
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

async function endedError(container: Container): Promise<PlatformError> {
  // the engine has started it anew meanwhile, and forgotten the exit code over that
  const again = container.state === 'running'
  const how = again ? 'and had to be started again' : `with exit code ${container.exitCode}`
  return new PlatformError(`${container.name} ended ${how}, right after its start`, {
    why: await lastLogLines(container.name, 15),
    hint: `task logs -- ${container.service}`,
  })
}

async function lateError(waiting: readonly string[], present: ReadonlyMap<string, Container>): Promise<PlatformError> {
  const [first = ''] = waiting
  const states = waiting.map(service => `${service}: ${describeContainer(present.get(service))}`)
  return new PlatformError(`Not ready after ${readyDeadline} s: ${waiting.join(', ')}`, {
    why: [...states, `Last words of ${first}:`, await lastLogLines(present.get(first)?.name ?? first, 15)].join('\n'),
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
  const running = (await projectContainers(platform)).filter(({ state }) => state !== 'exited' && state !== 'created')
  if (running.length === 0) return 'unchanged'
  await compose(platform, ['stop'])
  return 'updated'
}

/** Removes containers and networks, and with `volumes` all data. */
export async function removeStack(platform: Platform, { volumes }: { volumes: boolean }): Promise<void> {
  await compose(platform, ['down', '--remove-orphans', ...(volumes ? ['--volumes'] : [])])
}

async function filesBelow(base: string, folders: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for (const folder of folders) {
    const entries = await readdir(join(base, folder), { withFileTypes: true }).catch(() => [])
    found.push(...entries.filter(entry => !entry.isDirectory()).map(({ name }) => join(folder, name)))
    found.push(
      ...(await filesBelow(
        base,
        entries.filter(entry => entry.isDirectory()).map(({ name }) => join(folder, name)),
      )),
    )
  }
  return found
}
