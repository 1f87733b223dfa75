import type { Journal } from '../journal/journal.ts'
import type { Route } from '../platform/platform.ts'
import { addressText } from '../system/address.ts'

export const engineNames = ['systemd', 'socat', 'publish'] as const
export type EngineName = (typeof engineNames)[number]

/** What each engine makes routes of, for people. */
export const means: Record<EngineName, string> = {
  systemd: 'socket units in /etc/systemd/system',
  socat: 'a socat process for each address',
  publish: 'ports that Docker publishes',
}

export type RouteOutcome = 'unchanged' | 'created' | 'updated' | 'removed'

/** What an engine did about one route. */
export interface RouteChange {
  route: Route
  outcome: RouteOutcome
}

/** One way to have loopback addresses answered by containers. Engines know nothing of each other; apply.ts moves routes between them. */
export interface RouteEngine {
  readonly name: EngineName
  /** Routes that this engine holds on the machine now, whatever is configured. */
  installed(): Promise<Route[]>
  /** Makes these routes exist and listen; right ones are left alone, those with another target are replaced, others are not touched. */
  apply(routes: readonly Route[]): Promise<RouteChange[]>
  /** Takes routes away, by listening address, and with the last one what they shared; quiet about those that are not there. */
  remove(routes: readonly Route[]): Promise<RouteChange[]>
}

/** Opens the journal for a part of the platform; see journal.ts for scopes. */
export type OpenJournal = (scope: string) => Journal

/** Whether two routes listen on the same address. */
export function sameListen(one: Route, other: Route): boolean {
  return addressText(one.listen) === addressText(other.listen)
}

/** Whether two routes do the same. */
export function sameRoute(one: Route, other: Route): boolean {
  return sameListen(one, other) && addressText(one.target) === addressText(other.target)
}

/** Name of a route within the platform, for units, logs and journal: a service has one loopback address, so its port tells its routes apart. */
export function routeName({ service, listen }: Route): string {
  return `route-${service}-${listen.port}`
}

/** A route from the words that a unit or a command line carries for it: group, service, listening IP and port, target's IP and port. */
export function routeOfWords(words: readonly (string | undefined)[]): Route | undefined {
  const [group, service, listenIp, listenPort, targetIp, targetPort] = words
  if (!group || !service || !listenIp || !targetIp) return undefined
  return {
    group,
    service,
    listen: { ip: listenIp, port: Number(listenPort) },
    target: { ip: targetIp, port: Number(targetPort) },
  }
}

/** Journal scope of a group of routes, or of one of them. */
export function scopeOf(group: string, route?: Route): string {
  return route === undefined ? `routes/${group}` : `routes/${group}/${routeName(route)}`
}

/** One after the other: the journal is one file, and a crash then leaves one half-made route at most. */
export async function inTurn<T, R>(items: readonly T[], action: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (const item of items) results.push(await action(item))
  return results
}
