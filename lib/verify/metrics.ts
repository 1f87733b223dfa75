import type { Container } from '../docker.ts'
import { PlatformError } from '../errors.ts'
import { expectStatus, type Family, NotVerified, type Tools } from './check.ts'
import { needsOf, pageUrl } from './urls.ts'

interface Target {
  labels: { job?: string }
  health: 'up' | 'down' | 'unknown'
  lastError: string
  lastScrape: string
}

interface Snapshot {
  /** Value of `up` by job. */
  up: ReadonlyMap<string, string>
  targets: readonly Target[]
}

/** A snapshot this young is shared by all targets that are asked about. */
const freshMs = 400
/** How long a target may take to be scraped for the first time; the rest of the interval is not worth waiting for. */
const waitMs = 2000
/** How long a program may take from the start of its container until it listens: PowerDNS, the slowest that is scraped, waits for its database first. */
const startupMs = 15_000

/** Prometheus scrapes every service that has metrics: its `up` is 1. A target that is down is its own service's trouble. */
export const metrics: Family = ({ platform, containers }) => {
  const prometheus = platform.services.find(({ name }) => name === 'prometheus')
  const [page] = prometheus?.hosts ?? []
  if (prometheus === undefined || page === undefined) return []
  let latest: { snapshot: Promise<Snapshot>; at: number } | undefined
  const look = (tools: Tools) => {
    if (latest === undefined || performance.now() - latest.at > freshMs)
      latest = { snapshot: snapshotOf(pageUrl(page), tools), at: performance.now() }
    return latest.snapshot
  }
  return platform.services
    .filter(({ metrics }) => metrics !== undefined)
    .map(({ name }) => ({
      name: `metrics of ${name}`,
      service: name,
      needs: [pageUrl(page), ...needsOf(platform, page.name)],
      realOnly: true,
      hint: `curl -s http://${page.name}/api/v1/targets`,
      run: tools => waitUntilUp(name, containers.get(name), () => look(tools)),
    }))
}

async function waitUntilUp(
  job: string,
  container: Container | undefined,
  look: () => Promise<Snapshot>,
): Promise<string> {
  const end = performance.now() + waitMs
  // its last scrape may have been a good one
  if (container?.state !== 'running') throw new PlatformError('nothing to scrape')
  for (;;) {
    const { up, targets } = await look()
    if (up.get(job) === '1') return 'up'
    const target = targets.find(({ labels }) => labels.job === job)
    if (target !== undefined && isFinal(target, container))
      throw new PlatformError(`up is 0: ${target.lastError || 'not scraped'}`)
    if (performance.now() > end) {
      if (target === undefined) throw new PlatformError('Prometheus does not scrape it')
      throw new NotVerified('Prometheus has not looked since it was ready; in some seconds it will have')
    }
    await new Promise(resolve => setTimeout(resolve, freshMs))
  }
}

/** Whether a target that is down will stay so: one that was looked at before its program can have been there may come up with the next scrape. */
function isFinal(target: Target, container: Container | undefined): boolean {
  if (target.health !== 'down') return false
  if (container?.state !== 'running' || container.startedAt === undefined) return true
  return new Date(target.lastScrape).getTime() > container.startedAt.getTime() + startupMs
}

async function snapshotOf(base: string, { http }: Tools): Promise<Snapshot> {
  const [query, active] = await Promise.all([
    http(`${base}/api/v1/query?query=up`),
    http(`${base}/api/v1/targets?state=active`),
  ])
  const { data: vector } = JSON.parse(expectStatus(query, [200], 'Prometheus').body) as {
    data: { result: { metric: { job?: string }; value: [number, string] }[] }
  }
  const { data: found } = JSON.parse(expectStatus(active, [200], 'Prometheus').body) as {
    data: { activeTargets: Target[] }
  }
  return {
    up: new Map(vector.result.map(({ metric, value }) => [metric.job ?? '', value[1]])),
    targets: found.activeTargets,
  }
}
