import { randomUUID } from 'node:crypto'
import type { Platform } from '../platform/platform.ts'
import { projectContainers } from '../stack/docker.ts'
import { fullDisk, fullDiskHint, saysFull, withFullDisk } from '../stack/full-disk.ts'
import { ExitCode, PlatformError } from '../system/errors.ts'
import { $, type Shell } from '../system/exec.ts'
import { lookUp } from '../system/lookup.ts'
import { applications } from './applications.ts'
import { type CheckGroup, type CheckResult, defaultLimits, type Limits, runChecks } from './check.ts'
import { dashboards } from './dashboards.ts'
import { database } from './database.ts'
import { logs } from './logs.ts'
import { metrics, samples } from './metrics.ts'
import { ipv6Answer, names, questionsOf } from './names.ts'
import { objects } from './objects.ts'
import { images } from './registry.ts'
import { traces } from './traces.ts'
import { urls } from './urls.ts'
import { zones } from './zones.ts'

const groups: readonly CheckGroup[] = [
  names,
  urls,
  images,
  zones,
  samples,
  metrics,
  dashboards,
  logs,
  traces,
  database,
  objects,
]

/**
 * Uses the whole platform from outside, under its documented names, all at once. Whatever is sent is unique and removed afterwards, also where the
 * run is interrupted.
 * Throws where the engine cannot be asked, because without it placeholders cannot be told from the real thing.
 */
export async function verifyPlatform(
  platform: Platform,
  {
    shell = $,
    limits = defaultLimits,
    onInterrupt = () => {},
  }: {
    shell?: Shell
    limits?: Limits
    /** Is given what ends the checks in order; it resolves when what they made is removed. */
    onInterrupt?: (end: () => Promise<void>) => void
  } = {},
): Promise<CheckResult[]> {
  const cluster = applications(platform)
  const containers = await projectContainers(platform, shell)
  const unique = randomUUID()
  const context = {
    platform,
    unique,
    ipv6Answer,
    containers: new Map(containers.map(container => [container.service, container])),
    lookups: lookUp(questionsOf(platform, unique), limits.checkMs),
  }
  const checks = [...groups.flatMap(group => group(context)), ...(await cluster)]
  const stop = new AbortController()
  const results = runChecks(checks, context, limits, stop.signal)
  onInterrupt(async () => {
    stop.abort(new PlatformError('Interrupted', { exitCode: ExitCode.interrupted }))
    await results
  })
  const seen = await results
  stop.signal.throwIfAborted()
  return withCause(seen, platform, shell)
}

/** Names a full disk where that is why checks failed. */
async function withCause(results: CheckResult[], { services }: Platform, shell: Shell): Promise<CheckResult[]> {
  const containers = new Map(services.map(({ name, container }) => [name, container]))
  const failed = results.flatMap(({ ok, service }) => (ok === false ? [containers.get(service) ?? []].flat() : []))
  const full = await withFullDisk(failed, shell)
  return results.map(result => {
    if (result.ok !== false) return result
    if (saysFull(result.detail)) return { ...result, hint: fullDiskHint }
    if (!full.has(containers.get(result.service) ?? '')) return result
    return { ...result, detail: `${result.detail}; ${fullDisk}`, hint: fullDiskHint }
  })
}
