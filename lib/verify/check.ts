import type { Platform } from '../platform/platform.ts'
import { type Container, describeContainer, isHealthy } from '../stack/docker.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import { type HttpRequest, type HttpResponse, http } from '../system/http.ts'
import type { Lookups } from '../system/lookup.ts'
import { deadline } from '../system/wait.ts'

/** Something that can be seen from outside to be right or wrong. */
export interface Check {
  /** Shown and referred to; no two checks have the same. */
  name: string
  /** The service whose trouble a failure is. */
  service: string
  /** Checks without which this one means nothing: where one of them fails, that one is the trouble and not this. */
  needs?: readonly string[]
  /** Only the real program can pass it, so a placeholder is not even asked. */
  realOnly?: boolean
  /** A command that looks closer; the service's logs where nothing is said. */
  hint?: string
  /** Returns what was seen in words; throws where that is not right. Ends soon after the signal. */
  run(tools: Tools): Promise<string>
}

/** What a check looks with. */
export interface Tools {
  /** Fires when the check's time is over. */
  signal: AbortSignal
  /** The address a name of the platform has for programs on this machine; throws where it has none. */
  addressOf(name: string): Promise<string>
  /** Sends a request to the address that the system resolver has for the URL's host. */
  http(url: string, request?: HttpRequest): Promise<HttpResponse>
  /** Sends a request while the check's time is over already: for taking away what the check made. */
  cleanUp(url: string, request: HttpRequest): Promise<HttpResponse>
}

/** What all checks of a run are made from. */
export interface Situation {
  platform: Platform
  containers: ReadonlyMap<string, Container>
  lookups: Lookups
  /** What the name server says to AAAA of a name, as a c-ares code; undefined where it is not asked for this domain. */
  ipv6Answer(name: string, signal: AbortSignal): Promise<string | undefined>
  /** Part of everything that this run sends, and of nothing else. */
  unique: string
}

/** Checks of one kind. */
export type Family = (situation: Situation) => Check[]

export interface CheckResult {
  name: string
  service: string
  /** null = not verified: a placeholder stands there, or what the check needs is not right itself. */
  ok: boolean | null
  detail: string
  /** The command that looks closer, for what is not ok. */
  hint?: string
  seconds: number
}

/** Thrown by a check that found nothing wrong and still cannot say that it is right. */
export class NotVerified extends Error {}

/** How long checks may take, in milliseconds. */
export interface Limits {
  checkMs: number
  /** For a service that does not run by the engine's word: its forwarder needs seconds to find that out, and we know already. */
  downMs: number
  /** For taking away what a check made, on top of its own time. */
  cleanUpMs: number
}

/** With the start of the program they stay below five seconds. */
export const defaultLimits: Limits = { checkMs: 3000, downMs: 800, cleanUpMs: 800 }

/** Runs all checks at once, and says of each failure whose it is. */
export async function runChecks(
  checks: readonly Check[],
  situation: Situation,
  limits: Limits = defaultLimits,
): Promise<CheckResult[]> {
  const results = await Promise.all(checks.map(check => runCheck(check, situation, limits)))
  return attribute(checks, results, situation)
}

async function runCheck(check: Check, situation: Situation, limits: Limits): Promise<CheckResult> {
  const { name, service } = check
  const started = performance.now()
  const container = situation.containers.get(service)
  const placeholder = container?.standIn === 'placeholder'
  const { container: containerName, group } = situation.platform.services.find(({ name }) => name === service) ?? {}
  const end = (ok: boolean | null, detail: string): CheckResult => {
    const seconds = Math.round(performance.now() - started) / 1000
    const hint = check.hint ?? hintFor(group, container, detail)
    return { name, service, ok, detail, ...(ok === false ? { hint } : {}), seconds }
  }
  if (placeholder && check.realOnly) return end(null, 'a placeholder stands here')

  const isDown = containerName !== undefined && container?.state !== 'running'
  const { signal, done } = deadline(isDown ? limits.downMs : limits.checkMs)
  try {
    const seen = await check.run(toolsOf(situation, signal, limits))
    return placeholder ? end(null, `a placeholder stands here; ${seen}`) : end(true, seen)
  } catch (error) {
    if (error instanceof NotVerified) return end(null, error.message)
    const engine =
      containerName === undefined || isHealthy(container) ? '' : `; ${containerName} is ${describeContainer(container)}`
    return end(false, messageOf(error) + engine)
  } finally {
    done()
  }
}

function hintFor(group: string | undefined, container: Container | undefined, detail: string): string {
  if (container === undefined) return 'task start-infrastructure'
  // the container is content, so what is missing is the way to it
  if (isHealthy(container) && detail.startsWith('nobody listens') && group !== 'infrastructure')
    return group === 'observability' ? 'task setup-observability-routing' : 'task setup-data-routing'
  return `task logs -- ${container.service}`
}

function toolsOf({ lookups }: Situation, signal: AbortSignal, limits: Limits): Tools {
  const addressOf = async (name: string) => {
    const [address] = (await lookups(name)).addresses
    if (address === undefined) throw new PlatformError(`${name} does not resolve`)
    return address
  }
  return {
    signal,
    addressOf,
    http: async (url, request) => http(url, { ...request, ip: await addressOf(new URL(url).hostname), signal }),
    cleanUp: async (url, request) =>
      http(url, { ...request, ip: await addressOf(new URL(url).hostname), timeoutMs: limits.cleanUpMs }),
  }
}

/** Turns failures that follow from another one into 'not verified', so that what is red is what is broken. */
function attribute(checks: readonly Check[], results: CheckResult[], situation: Situation): CheckResult[] {
  const failed = new Map(results.filter(({ ok }) => ok === false).map(result => [result.name, result]))
  const byName = new Map(checks.map(check => [check.name, check]))
  // a service that does not run is its own trouble, whatever else is wrong
  const known = new Set(situation.platform.services.map(({ name }) => name))
  const isDown = (service: string) => known.has(service) && situation.containers.get(service)?.state !== 'running'
  const culprit = (check: Check, seen: readonly string[] = []): string | undefined => {
    for (const need of isDown(check.service) ? [] : (check.needs ?? [])) {
      const needed = byName.get(need)
      if (needed === undefined || needed.service === check.service || seen.includes(need) || !failed.has(need)) continue
      return culprit(needed, [...seen, need]) ?? need
    }
    const unwell = unwellDependency(check.service, situation)
    return unwell !== undefined && [...failed.values()].some(({ service }) => service === unwell) ? unwell : undefined
  }
  return results.map(result => {
    const check = byName.get(result.name)
    const because = result.ok === false && check ? culprit(check) : undefined
    if (because === undefined) return result
    const { name, service, detail, seconds } = result
    return { name, service, ok: null, detail: `not verified because of ${because}: ${detail}`, seconds }
  })
}

/** A service that this one depends on by its `depends_on`, and that the engine says is not well. */
function unwellDependency(
  service: string,
  situation: Pick<Situation, 'platform' | 'containers'>,
  seen = [service],
): string | undefined {
  const { platform, containers } = situation
  const direct = platform.composeFiles.flatMap(({ content }) => namesIn(content.services?.[service]?.depends_on))
  for (const name of direct) {
    if (seen.includes(name)) continue
    const deeper = unwellDependency(name, situation, [...seen, name])
    if (deeper !== undefined) return deeper
    if (!isHealthy(containers.get(name))) return name
  }
  return undefined
}

function namesIn(dependsOn: unknown): string[] {
  if (Array.isArray(dependsOn)) return dependsOn.map(String)
  return dependsOn !== null && typeof dependsOn === 'object' ? Object.keys(dependsOn) : []
}

/** Repeats an action until it returns something or the signal fires; throws what the signal says, with the last thing seen. */
export async function until<T>(
  signal: AbortSignal,
  what: string,
  action: () => Promise<T | undefined>,
  pauseMs = 150,
): Promise<T> {
  for (;;) {
    const result = await action()
    if (result !== undefined) return result
    if (signal.aborted) throw new PlatformError(`${what}: not within the time`)
    await new Promise(resolve => setTimeout(resolve, pauseMs))
  }
}

/** Takes away what an action made, whether it succeeded or not; its own failure is told unless there is an earlier one. */
export async function thenCleanUp<T>(action: () => Promise<T>, cleanUp: () => Promise<unknown>): Promise<T> {
  let result: T
  try {
    result = await action()
  } catch (error) {
    await cleanUp().catch(() => {
      // the first trouble is the one to tell; what could not be removed lies where that trouble is
    })
    throw error
  }
  await cleanUp()
  return result
}

/** Throws unless the status is one of the expected; says what was answered, shortened to a line. */
export function expectStatus(answer: HttpResponse, expected: readonly number[], what: string): HttpResponse {
  if (expected.includes(answer.status)) return answer
  const words = answer.body
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 160)
  throw new PlatformError(`${what} answered ${answer.status}${words === '' ? '' : `: ${words}`}`)
}
