import type { Platform } from '../platform/platform.ts'
import { type Container, describeContainer, isHealthy } from '../stack/docker.ts'
import { codeOf, messageOf, PlatformError } from '../system/errors.ts'
import { type HttpRequest, type HttpResponse, http } from '../system/http.ts'
import type { Lookups } from '../system/lookup.ts'
import { deadline, NotYet, waitFor } from '../system/wait.ts'

/** Something that can be seen from outside to be right or wrong. */
export interface Check {
  /** Shown and referred to; no two checks have the same. */
  name: string
  /** The service that a failure is attributed to. */
  service: string
  /** Checks that this one depends on: where one of them fails, this one is not verified. */
  needs?: readonly string[]
  /** Only the real program can pass it, so a placeholder is not even asked. */
  realOnly?: boolean
  /** The command that shows more; the service's logs where it is absent. */
  hint?: string
  /** Returns a description of what was seen; throws where that is wrong. Ends soon after the signal. */
  run(tools: Tools): Promise<string>
}

/** What a check looks with. */
export interface Tools {
  /** Fires when the check's time is over, or the run is to end. */
  signal: AbortSignal
  /** The address a name of the platform has for programs on this machine; throws where it has none. */
  addressOf(name: string): Promise<string>
  /**
   * Sends a request to `ip`, or to the address that the system resolver has for the URL's host. One that writes is answered, or out of time, before
   * the run ends: only then is it known what there is to remove.
   */
  http(url: string, request?: HttpRequest & { ip?: string }): Promise<HttpResponse>
  /** Looks again and again until `look` finds something; throws `what` and what the last look threw when the check's time is over. */
  until<T>(what: string, look: () => Promise<T | undefined>): Promise<T>
  /** Sends a request that has time of its own, for removing what the check made when its time is over. */
  cleanUp(url: string, request: HttpRequest): Promise<HttpResponse>
}

/** What the checks of a run are made from. */
export interface CheckContext {
  platform: Platform
  containers: ReadonlyMap<string, Container>
  lookups: Lookups
  /** The name server's answer to AAAA of a name, as a c-ares code; undefined where the system does not use it for this domain. */
  ipv6Answer(name: string, signal: AbortSignal): Promise<string | undefined>
  /** Part of everything that this run sends, and of nothing else. */
  unique: string
}

/** Makes the checks of one kind; none where the platform has nothing for them. */
export type CheckGroup = (context: CheckContext) => Check[]

export interface CheckResult {
  name: string
  service: string
  /** null = not verified: a placeholder runs there, or a check that this one depends on failed. */
  ok: boolean | null
  detail: string
  /** The command that shows more, for a check that failed. */
  hint?: string
  seconds: number
}

/** Thrown by a check that found nothing wrong and cannot confirm the rest. */
export class NotVerified extends PlatformError {}

/** How long checks may take, in milliseconds. */
export interface Limits {
  checkMs: number
  /** For a service whose container does not run: its forwarder needs seconds to find that out, and we know already. */
  downMs: number
  /** For removing what a check made, on top of its own time. */
  cleanUpMs: number
}

/** With the start of the program they stay below five seconds. */
export const defaultLimits: Limits = { checkMs: 3000, downMs: 800, cleanUpMs: 800 }

/**
 * Runs all checks at once. A failure that follows from another check's is reported as not verified. With `stop` nothing more is looked at; it still
 * takes the time of a request that writes, and of removing what was made.
 */
export async function runChecks(
  checks: readonly Check[],
  context: CheckContext,
  limits: Limits = defaultLimits,
  stop?: AbortSignal,
): Promise<CheckResult[]> {
  const results = await Promise.all(checks.map(check => runCheck(check, context, limits, stop)))
  return attribute(checks, results, context)
}

async function runCheck(
  check: Check,
  context: CheckContext,
  limits: Limits,
  stop: AbortSignal | undefined,
): Promise<CheckResult> {
  const { name, service } = check
  const started = performance.now()
  const container = context.containers.get(service)
  const placeholder = container?.standIn === 'placeholder'
  const { container: containerName, group } = context.platform.services.find(({ name }) => name === service) ?? {}
  const end = (ok: boolean | null, detail: string, error?: unknown): CheckResult => {
    const seconds = Math.round(performance.now() - started) / 1000
    const hint = check.hint ?? hintFor(group, container, error)
    return { name, service, ok, detail, ...(ok === false ? { hint } : {}), seconds }
  }
  if (placeholder && check.realOnly) return end(null, 'a placeholder runs here')

  const isDown = containerName !== undefined && container?.state !== 'running'
  const limitMs = isDown ? limits.downMs : limits.checkMs
  const time = deadline(limitMs)
  const signal = stop === undefined ? time.signal : AbortSignal.any([time.signal, stop])
  try {
    const seen = await check.run(toolsOf(context, signal, time.signal, { ...limits, checkMs: limitMs }))
    return placeholder ? end(null, `a placeholder runs here; ${seen}`) : end(true, seen)
  } catch (error) {
    if (error instanceof NotVerified) return end(null, error.message)
    const engine =
      containerName === undefined || isHealthy(container) ? '' : `; ${containerName} is ${describeContainer(container)}`
    return end(false, messageOf(error) + engine, error)
  } finally {
    time.done()
  }
}

function hintFor(group: string | undefined, container: Container | undefined, error: unknown): string {
  // one that failed is restarting: this one was stopped, by a person or by an engine that started anew
  if (container === undefined || container.state === 'exited') return 'task start-infrastructure'
  // the container is healthy, so the route to it is missing
  if (isHealthy(container) && codeOf(error) === 'ECONNREFUSED' && group !== 'infrastructure')
    return group === 'observability' ? 'task setup-observability-routing' : 'task setup-data-routing'
  return `task logs -- ${container.service}`
}

function toolsOf({ lookups }: CheckContext, signal: AbortSignal, time: AbortSignal, limits: Limits): Tools {
  const addressOf = async (name: string) => {
    const [address] = (await lookups(name)).addresses
    if (address === undefined) throw new PlatformError(`${name} does not resolve`)
    return address
  }
  return {
    signal,
    addressOf,
    until: untilWithin(limits.checkMs, signal),
    async http(url, { ip, ...request } = {}) {
      const address = ip ?? (await addressOf(new URL(url).hostname))
      signal.throwIfAborted()
      return http(url, { ...request, ip: address, signal: (request.method ?? 'GET') === 'GET' ? signal : time })
    },
    cleanUp: async (url, request) =>
      http(url, { ...request, ip: await addressOf(new URL(url).hostname), timeoutMs: limits.cleanUpMs }),
  }
}

/** The `until` of a check that has this much time from now on. It ends a little earlier, so that the last look is known. */
export function untilWithin(limitMs: number, signal: AbortSignal): Tools['until'] {
  const endsAt = performance.now() + limitMs - 50
  return (what, look) =>
    waitFor(async () => (await look()) ?? new NotYet('not within the time'), {
      timeoutMs: Math.max(1, endsAt - performance.now()),
      pauseMs: 150,
      signal,
      onTimeout: last => new PlatformError(`${what}: ${last}`),
    })
}

/** Turns failures that follow from another one into 'not verified', so that only causes are reported as wrong. */
function attribute(checks: readonly Check[], results: CheckResult[], context: CheckContext): CheckResult[] {
  const failed = new Map(results.filter(({ ok }) => ok === false).map(result => [result.name, result]))
  const byName = new Map(checks.map(check => [check.name, check]))
  // a service that does not run is the cause itself, whatever else is wrong
  const known = new Set(context.platform.services.map(({ name }) => name))
  const isDown = (service: string) => known.has(service) && context.containers.get(service)?.state !== 'running'
  const culprit = (check: Check, seen: readonly string[] = []): string | undefined => {
    for (const need of isDown(check.service) ? [] : (check.needs ?? [])) {
      const needed = byName.get(need)
      if (needed === undefined || needed.service === check.service || seen.includes(need) || !failed.has(need)) continue
      return culprit(needed, [...seen, need]) ?? need
    }
    const unwell = unwellDependency(check.service, context)
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

/** A service that this one depends on by its `depends_on`, and that the engine reports as not healthy. */
function unwellDependency(
  service: string,
  context: Pick<CheckContext, 'platform' | 'containers'>,
  seen = [service],
): string | undefined {
  const { platform, containers } = context
  const direct = platform.composeFiles.flatMap(({ content }) => namesIn(content.services?.[service]?.depends_on))
  for (const name of direct) {
    if (seen.includes(name)) continue
    const deeper = unwellDependency(name, context, [...seen, name])
    if (deeper !== undefined) return deeper
    if (!isHealthy(containers.get(name))) return name
  }
  return undefined
}

function namesIn(dependsOn: unknown): string[] {
  if (Array.isArray(dependsOn)) return dependsOn.map(String)
  return dependsOn !== null && typeof dependsOn === 'object' ? Object.keys(dependsOn) : []
}

/** Removes what an action made, whether it succeeded or not. Throws the action's error, or that of the removal where there is none. */
export async function thenCleanUp<T>(action: () => Promise<T>, cleanUp: () => Promise<unknown>): Promise<T> {
  let result: T
  try {
    result = await action()
  } catch (error) {
    await cleanUp().catch(() => {
      // the action's error explains this one
    })
    throw error
  }
  await cleanUp()
  return result
}

/** Throws unless the status is one of the expected; the error has the answer, shortened to a line. */
export function expectStatus(answer: HttpResponse, expected: readonly number[], what: string): HttpResponse {
  if (expected.includes(answer.status)) return answer
  const text = answer.body
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 160)
  throw new PlatformError(`${what} answered ${answer.status}${text === '' ? '' : `: ${text}`}`)
}
