import { randomUUID } from 'node:crypto'
import { projectContainers } from './docker.ts'
import { ask, type Runner } from './exec.ts'
import { lookUp } from './lookup.ts'
import type { Platform } from './platform.ts'
import { applications } from './verify/applications.ts'
import { type CheckResult, defaultLimits, type Family, type Limits, runChecks } from './verify/check.ts'
import { dashboards } from './verify/dashboards.ts'
import { database } from './verify/database.ts'
import { images } from './verify/images.ts'
import { logs } from './verify/logs.ts'
import { metrics } from './verify/metrics.ts'
import { ipv6Answer, names, questionsOf } from './verify/names.ts'
import { objects } from './verify/objects.ts'
import { traces } from './verify/traces.ts'
import { urls } from './verify/urls.ts'
import { zones } from './verify/zones.ts'

const families: readonly Family[] = [names, urls, images, zones, metrics, dashboards, logs, traces, database, objects]

/**
 * Uses the whole platform from outside, under its documented names, all at once. Whatever is sent is unique and taken away afterwards.
 * Throws where the engine cannot be asked, because without it placeholders cannot be told from the real thing.
 */
export async function verifyPlatform(
  platform: Platform,
  { asker = ask, limits = defaultLimits }: { asker?: Runner; limits?: Limits } = {},
): Promise<CheckResult[]> {
  const cluster = applications(platform)
  const containers = await projectContainers(asker)
  const unique = randomUUID()
  const situation = {
    platform,
    unique,
    ipv6Answer,
    containers: new Map(containers.map(container => [container.service, container])),
    lookups: lookUp(questionsOf(platform, unique), limits.checkMs),
  }
  const checks = [...families.flatMap(family => family(situation)), ...(await cluster)]
  return runChecks(checks, situation, limits)
}
