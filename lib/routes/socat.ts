import { journalFile } from '../journal/journal-file.ts'
import { byHand, isMadeByHand, isUs, type Owner } from '../platform/owner.ts'
import type { Route } from '../platform/platform.ts'
import { addressText } from '../system/address.ts'
import { PlatformError } from '../system/errors.ts'
import { describeHolder, holdersOf, isListenedOn, type Listener, openSockets, socketsHeldBy } from '../system/ports.ts'
import type { Privilege } from '../system/privilege.ts'
import { endProcess, findProcesses, type ProcessIdentity } from '../system/processes.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import {
  inTurn,
  type OpenJournal,
  type RouteChange,
  type RouteCommands,
  type RouteEngine,
  routeName,
  routeOfFields,
  type SocatRoute,
  sameListen,
  sameRoute,
  scopeOf,
} from './engine.ts'

/**
 * socat has one process per connection; this many at once are far more than a developer's machine makes, and no danger to it. As many may wait
 * to be accepted: socat's own 5 make a busy page wait.
 */
const maxConnections = 1000
/** A container that is gone does not answer at all, and a client should know soon; one that is there answers within a millisecond. */
const connectTimeoutSeconds = 1
/** How long the other direction stays open when one side has sent everything; socat's own 0.5 s cuts slow answers off. */
const halfClosedSeconds = 60

/**
 * What a socat process of ours needs beside the addresses of its route. Its `-lp` (program name in socat's log) says whose it is, so that a
 * process itself tells which route of which installation it is: no record can contradict the machine.
 */
export function socatRoute(route: Route, { id, stateDir }: Owner): SocatRoute {
  return {
    ...route,
    identity: [`-t${halfClosedSeconds}`, `-lpmacula:${id}:${route.group}:${route.service}:${stateDir}`],
    listening: `reuseaddr,fork,backlog=${maxConnections},max-children=${maxConnections},nodelay`,
    connecting: `${sourceFor(route.target.ip)}connect-timeout=${connectTimeoutSeconds},nodelay`,
  }
}

// Where the containers' network does not exist, connections to it would leave the machine by its default route. From the network's own
// gateway address (the first one, by Docker's rule) they cannot: then a client is refused at once.
function sourceFor(ip: string): string {
  return ip.startsWith('127.') ? '' : `bind=${ip.split('.').slice(0, 2).join('.')}.0.1,`
}

/** The route that a command line serves, and for which installation; undefined for every other program. An earlier release named no owner. */
export function routeOfSocat(command: readonly string[]): { route: Route; owner: Owner | undefined } | undefined {
  if (command[0] !== 'socat' || command.length !== 5) return undefined
  const [, id, group, service, stateDir] =
    /^-lpmacula:(?:([0-9a-f]{12}):)?([^:]+):([^:]+)(?::(.+))?$/.exec(command[2]!) ?? []
  const [, listenPort, listenIp] = /^TCP4-LISTEN:(\d+),bind=([\d.]+),/.exec(command[3]!) ?? []
  const [, targetIp, targetPort] = /^TCP4:([\d.]+):(\d+)/.exec(command[4]!) ?? []
  const route = routeOfFields([group, service, listenIp, listenPort, targetIp, targetPort])
  const owner = id === undefined || stateDir === undefined ? undefined : { id, stateDir }
  return route && { route, owner }
}

export interface SocatOptions {
  openJournal: OpenJournal
  privilege: Privilege
  owner: Owner
  /** How a route is forwarded; only `apply` needs it. */
  command: RouteCommands['socat']
  /** Count what this checkout started before it had its present id as ours. */
  adopt?: boolean
  dryRun?: boolean
}

/** Routes as detached socat processes: they outlive the task and the terminal, but not a reboot. */
export function socatEngine(options: SocatOptions): RouteEngine {
  const { openJournal, privilege, owner, command, adopt = false, dryRun = false } = options

  const commandOf = (route: Route) => command(socatRoute(route, owner))
  // a person may have started it from the commands of a preview
  const isCurrent = (process: { command: readonly string[] }, route: Route) =>
    [owner, { ...owner, id: byHand }].some(
      each => process.command.join('\0') === command(socatRoute(route, each)).join('\0'),
    )

  async function remove(route: Route, held: readonly Forwarder[]): Promise<RouteChange> {
    const ended = await openJournal(scopeOf(route.group)).endProcess(routeName(route))
    const own = held.filter(other => sameListen(other.route, route))
    // those that are not in the journal (its folder was deleted) are ended all the same; what has ended already needs nothing
    if (!dryRun) for (const { process } of own) await endProcess(process, privilege)
    return { route, outcome: own.length > 0 || ended === 'removed' ? 'removed' : 'unchanged' }
  }

  async function ensure(route: Route, held: readonly Forwarder[], bound: readonly Listener[]): Promise<RouteChange> {
    if (held.some(other => isCurrent(other.process, route)) && holdersOf(route.listen, bound).length > 0)
      return { route, outcome: 'unchanged' }
    const others = held.filter(
      other => sameListen(other.route, route) && !(sameRoute(other.route, route) && isCurrent(other.process, route)),
    )
    if (others.length > 0) await remove(route, others)
    const started = await openJournal(scopeOf(route.group)).startProcess({
      name: routeName(route),
      command: commandOf(route),
      ready: () => listensSoon(route),
    })
    return { route, outcome: others.length > 0 ? 'updated' : started }
  }

  // Another program may have taken the address before our socat, which then ended: each address has to be held by the process of just its
  // route, or by one that this user is not shown (root's).
  function requireOwn(routes: readonly Route[], sockets: readonly Listener[]): void {
    for (const route of routes) {
      const holders = holdersOf(route.listen, sockets)
      if (holders.some(({ process }) => process === undefined || isCurrent(process, route))) continue
      const who = holders.map(describeHolder).join(', ') || 'no process'
      throw new PlatformError(`${addressText(route.listen)} is held by ${who}, not by the route to ${route.service}`)
    }
  }

  return {
    name: 'socat',
    async installed() {
      // a process of an open connection has the command line of the one that listens
      const { ours } = await forwarders(owner, adopt)
      return [...new Map(ours.map(({ route, process }) => [process.command.join(' '), route])).values()]
    },
    async foreign() {
      const { others } = await forwarders(owner, false)
      return others.map(({ route, process, owner: theirs }) => ({
        what: `socat (pid ${process.pid}) on ${addressText(route.listen)}`,
        owner: theirs,
        state: theirs?.stateDir === owner.stateDir ? ('adoptable' as const) : ('foreign' as const),
        listen: route.listen,
        remove: async () => {}, // with `adopt` it is replaced like one with another command line
      }))
    },
    async apply(routes) {
      const { ours } = await forwarders(owner, adopt)
      // where all is as it should be our own processes show it, without a look at those of everybody
      const held = await socketsHeldBy(ours.map(({ process }) => process.pid))
      const isHeld = (route: Route) =>
        holdersOf(route.listen, held).some(({ process }) => process !== undefined && isCurrent(process, route))
      if (routes.every(isHeld)) return routes.map(route => ({ route, outcome: 'unchanged' }))
      const before = await openSockets()
      const changes = await inTurn(routes, route => ensure(route, ours, before))
      const done = changes.filter(({ outcome }) => !dryRun || outcome === 'unchanged')
      const isSame = changes.every(({ outcome }) => outcome === 'unchanged')
      requireOwn(
        done.map(({ route }) => route),
        isSame ? before : await openSockets(),
      )
      return changes
    },
    async remove(routes) {
      if (routes.length === 0) return []
      const { ours } = await forwarders(owner, adopt)
      return inTurn(routes, route => remove(route, ours))
    },
  }
}

/** socat listens some milliseconds after its start: worth waiting for, rather than looking again after a longer pause. */
async function listensSoon({ listen }: Route): Promise<boolean> {
  const look = async () => (await isListenedOn(listen)) || new NotYet('not listening yet')
  const onTimeout = (seen: string) => new PlatformError(seen)
  return waitFor(look, { timeoutMs: 40, pauseMs: 4, onTimeout }).catch(() => false)
}

/** A socat process of the platform and the route it serves. */
interface Forwarder {
  route: Route
  owner: Owner | undefined
  process: ProcessIdentity & { command: readonly string[] }
}

/** Those of this installation, by the id in their command line or, from an earlier release, by our journal; and those of others. */
async function forwarders(us: Owner, adopt: boolean): Promise<{ ours: Forwarder[]; others: Forwarder[] }> {
  const found = (await findProcesses(command => routeOfSocat(command) !== undefined)).map(process => ({
    ...routeOfSocat(process.command)!,
    process,
  }))
  const records = found.some(({ owner }) => owner === undefined) ? await journalFile(us.stateDir).read() : []
  const started = new Set(records.flatMap(record => (record.kind === 'process' ? [record.command.join('\0')] : [])))
  const isOurs = ({ owner, process }: Forwarder) =>
    owner === undefined
      ? started.has(process.command.join('\0'))
      : isUs(us, owner) || isMadeByHand(us, owner) || (adopt && owner.stateDir === us.stateDir)
  return { ours: found.filter(isOurs), others: found.filter(each => !isOurs(each)) }
}
