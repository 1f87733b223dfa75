import type { Platform } from '../platform/platform.ts'
import { PlatformError } from '../system/errors.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import { type Check, type CheckGroup, expectStatus, NotVerified, type Tools } from './check.ts'
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

/** Prometheus scrapes every service that has metrics: its `up` is 1. A target that is down is attributed to its own service. */
export const metrics: CheckGroup = ({ platform, containers }) => {
  const programs = platform.services
    .filter(({ metrics }) => metrics !== undefined)
    .map(({ name }) => {
      const { state, startedAt, standIn, standInName = 'another program' } = containers.get(name) ?? {}
      return { name, running: state === 'running', startedAt, other: standIn === 'other' ? standInName : undefined }
    })
  return metricsChecks(platform, programs)
}

/** Each target is scraped every ten seconds: a newest sample that is older was followed by some that could not be stored. */
const newestWithinS = 45

/** Samples are stored: where Prometheus cannot write, it goes on to answer with what it had, and to say that all targets are up. */
export const samples: CheckGroup = ({ platform, containers }) => {
  const service = platform.services.find(({ name }) => name === 'prometheus')
  const [page] = service?.hosts ?? []
  if (service === undefined || page === undefined) return []
  const { state, startedAt } = containers.get(service.name) ?? {}
  return [
    {
      name: 'samples, scraped and stored',
      service: service.name,
      needs: [pageUrl(page), ...needsOf(platform, page.name)],
      realOnly: true,
      async run({ http }) {
        const isNew = state === 'running' && Date.now() - (startedAt?.getTime() ?? 0) < newestWithinS * 1000
        const look = async () => {
          const age = await newestAge(pageUrl(page), http)
          const text = age === undefined ? 'there is none' : `the newest is ${Math.round(age)} s old`
          return age !== undefined && age <= newestWithinS ? text : new NotYet(text)
        }
        return waitFor<string>(look, {
          timeoutMs: waitMs,
          pauseMs: freshMs,
          onTimeout: last => (isNew ? new NotVerified(`${last} yet`) : new PlatformError(last)),
        })
      },
    },
  ]
}

/** Age of the newest sample of all targets in seconds, by Prometheus' own clock; undefined where it has none of the last five minutes. */
async function newestAge(base: string, http: Tools['http']): Promise<number | undefined> {
  const query = encodeURIComponent('time() - max(timestamp(up))')
  const answer = expectStatus(await http(`${base}/api/v1/query?query=${query}`), [200], 'Prometheus')
  const { data } = JSON.parse(answer.body) as { data: { result: { value: [number, string] }[] } }
  return data.result[0] && Number(data.result[0].value[1])
}

/** A program that Prometheus scrapes; its job has its name. */
interface Scraped {
  name: string
  running: boolean
  startedAt: Date | undefined
  /** What runs in its place, where that is another program: it has metrics of its own, or none. */
  other?: string | undefined
}

/** A check for each of these programs: that its `up` is 1. None where there is no Prometheus. */
export function metricsChecks(platform: Platform, programs: readonly Scraped[]): Check[] {
  const [page] = platform.services.find(({ name }) => name === 'prometheus')?.hosts ?? []
  if (page === undefined) return []
  let latest: { snapshot: Promise<Snapshot>; at: number } | undefined
  const look = (tools: Tools) => {
    if (latest === undefined || performance.now() - latest.at > freshMs)
      latest = { snapshot: snapshotOf(pageUrl(page), tools), at: performance.now() }
    return latest.snapshot
  }
  return programs.map(program => ({
    name: `metrics of ${program.name}`,
    service: program.name,
    needs: [pageUrl(page), ...needsOf(platform, page.name)],
    realOnly: true,
    hint: `curl -s http://${page.name}/api/v1/targets`,
    run: tools => waitUntilUp(program, () => look(tools)),
  }))
}

async function waitUntilUp(program: Scraped, look: () => Promise<Snapshot>): Promise<string> {
  const { name: job } = program
  // its last scrape may have been a good one
  if (!program.running) throw new PlatformError('nothing to scrape')
  if (program.other !== undefined) throw new NotVerified(`${program.other} runs here, without these metrics`)
  const result = await waitFor(
    async () => {
      const { up, targets } = await look()
      if (up.get(job) === '1') return 'up'
      const target = targets.find(({ labels }) => labels.job === job)
      if (target !== undefined && isFinal(target, program))
        return new PlatformError(`up is 0: ${target.lastError || 'not scraped'}`)
      return new NotYet(target === undefined ? notScraped : notScrapedYet)
    },
    {
      timeoutMs: waitMs,
      pauseMs: freshMs,
      onTimeout: last => (last === notScrapedYet ? new NotVerified(last) : new PlatformError(last)),
    },
  )
  if (result instanceof PlatformError) throw result
  return result
}

const notScraped = 'Prometheus does not scrape it'
const notScrapedYet = 'Prometheus has not scraped it since it was ready; it will within seconds'

/** Whether a target that is down will stay down: one that was scraped before its program can have listened may be up at the next scrape. */
function isFinal(target: Target, { startedAt }: Scraped): boolean {
  if (target.health !== 'down') return false
  return startedAt === undefined || new Date(target.lastScrape).getTime() > startedAt.getTime() + startupMs
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
