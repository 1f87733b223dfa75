import type { Foreign } from '../journal/foreign.ts'
import type { Journal } from '../journal/journal.ts'
import type { EnableCommand } from '../journal/units.ts'
import type { Route } from '../platform/platform.ts'
import { type Address, addressText } from '../system/address.ts'

export const engineNames = ['systemd', 'socat', 'publish'] as const
export type EngineName = (typeof engineNames)[number]

/** What each engine makes routes of, for people. */
export const means: Record<EngineName, string> = {
  systemd: 'socket units in /etc/systemd/system',
  socat: 'a socat process for each address',
  publish: 'ports that Docker publishes',
}

/** `pending`: whoever publishes the address is not there yet. */
export type RouteOutcome = 'unchanged' | 'created' | 'updated' | 'removed' | 'pending'

/** Something at the place of a route, or of what routes share, that this installation did not make. */
export interface ForeignRoute extends Foreign {
  /** The address that it holds, where it holds one. */
  listen?: Address
  /** Removes it, which only what can be taken over may be. */
  remove(): Promise<void>
}

/** What an engine did about one route. */
export interface RouteChange {
  route: Route
  outcome: RouteOutcome
}

/** One way to forward loopback addresses to containers. Engines know nothing of each other; apply.ts moves routes between them. */
export interface RouteEngine {
  readonly name: EngineName
  /** Routes of this installation that the engine holds on the machine now, whatever is configured. */
  installed(): Promise<Route[]>
  /** What it would hold for another installation, or did for an earlier release that recorded nothing. */
  foreign(): Promise<ForeignRoute[]>
  /** Makes these routes exist and listen; right ones are left alone, those with another target are replaced, others are not touched. */
  apply(routes: readonly Route[]): Promise<RouteChange[]>
  /** Removes routes, by listening address, and with the last one what they shared; quiet about those that are not there. */
  remove(routes: readonly Route[]): Promise<RouteChange[]>
}

/** The commands that forward routes. Each routing task has them, as the script that it replaces has. */
export interface RouteCommands {
  /** Has systemd listen on the addresses of these socket units, now and after each boot. */
  systemd: EnableCommand
  /** The arguments of the process that forwards one address; it runs detached. */
  socat(route: SocatRoute): string[]
}

/** A route with what our socat processes need beside its addresses. */
export interface SocatRoute extends Route {
  /** Options of the program: whose it is, in its log and for `ps`. */
  identity: readonly string[]
  /** Options of the listening address. */
  listening: string
  /** Options of the target's address. */
  connecting: string
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

/** A route from the fields that a unit or a command line carries for it: group, service, listening IP and port, target's IP and port. */
export function routeOfFields(fields: readonly (string | undefined)[]): Route | undefined {
  const [group, service, listenIp, listenPort, targetIp, targetPort] = fields
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
