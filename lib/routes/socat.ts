import { setTimeout as pause } from 'node:timers/promises'
import type { Route } from '../platform/platform.ts'
import { addressText } from '../system/address.ts'
import { PlatformError } from '../system/errors.ts'
import { boundSockets, describeHolder, holdersOf, isListenedOn, type Listener, openSockets } from '../system/ports.ts'
import type { Privilege } from '../system/privilege.ts'
import { endProcess, findProcesses, type ProcessIdentity } from '../system/processes.ts'
import {
  inTurn,
  type OpenJournal,
  type RouteChange,
  type RouteEngine,
  routeName,
  routeOfWords,
  sameListen,
  sameRoute,
  scopeOf,
} from './engine.ts'

/** socat has one process per connection; this many at once are far more than a developer's machine makes, and no danger to it; as many may wait to be accepted (socat's own 5 make a busy page wait). */
const maxConnections = 1000
/** A container that is gone answers with nothing at all, and a client should hear so soon; one that is there answers within a millisecond. */
const connectTimeoutSeconds = 1
/** How long the other direction stays open when one side has said all it has to say; socat's own 0.5 s cuts slow answers off. */
const halfClosedSeconds = 60

/**
 * The command line of a route. Its `-lp` (program name in socat's log) says whose it is, so that a process tells by itself which route it is:
 * no record can contradict the machine.
 */
export function socatCommand({ group, service, listen, target }: Route): string[] {
  return [
    'socat',
    `-t${halfClosedSeconds}`,
    `-lpmacula:${group}:${service}`,
    `TCP4-LISTEN:${listen.port},bind=${listen.ip},reuseaddr,fork,backlog=${maxConnections},max-children=${maxConnections},nodelay`,
    `TCP4:${target.ip}:${target.port}${sourceFor(target.ip)},connect-timeout=${connectTimeoutSeconds},nodelay`,
  ]
}

// Where the containers' network does not exist, connections to it would leave the machine by its default route. From the network's own
// gateway address (the first one, by Docker's rule) they cannot: then a client is refused at once.
function sourceFor(ip: string): string {
  return ip.startsWith('127.') ? '' : `,bind=${ip.split('.').slice(0, 2).join('.')}.0.1`
}

/** The route that a command line serves; undefined for every other program. */
export function routeOfSocat(command: readonly string[]): Route | undefined {
  if (command[0] !== 'socat' || command.length !== 5) return undefined
  const [, group, service] = /^-lpmacula:([^:]+):([^:]+)$/.exec(command[2]!) ?? []
  const [, listenPort, listenIp] = /^TCP4-LISTEN:(\d+),bind=([\d.]+),/.exec(command[3]!) ?? []
  const [, targetIp, targetPort] = /^TCP4:([\d.]+):(\d+)/.exec(command[4]!) ?? []
  return routeOfWords([group, service, listenIp, listenPort, targetIp, targetPort])
}

/** Routes as detached socat processes: they outlive the task and the terminal, but not a reboot. */
export function socatEngine(openJournal: OpenJournal, privilege: Privilege, dryRun = false): RouteEngine {
  async function remove(route: Route, held: readonly Forwarder[]): Promise<RouteChange> {
    const ended = await openJournal(scopeOf(route.group)).endProcess(routeName(route))
    const own = held.filter(other => sameListen(other.route, route))
    // what the journal does not know (its folder was deleted) is recognised all the same; who is gone already is left in peace
    if (!dryRun) for (const { process } of own) await endProcess(process, privilege)
    return { route, outcome: own.length > 0 || ended === 'removed' ? 'removed' : 'unchanged' }
  }

  async function ensure(route: Route, held: readonly Forwarder[], bound: readonly Listener[]): Promise<RouteChange> {
    if (held.some(other => isCurrent(other.process, route)) && holdersOf(route.listen, bound).length > 0)
      return { route, outcome: 'unchanged' }
    const others = held.filter(other => sameListen(other.route, route) && !sameRoute(other.route, route))
    if (others.length > 0) await remove(route, others)
    const started = await openJournal(scopeOf(route.group)).startProcess({
      name: routeName(route),
      command: socatCommand(route),
      ready: () => listensSoon(route),
    })
    return { route, outcome: others.length > 0 ? 'updated' : started }
  }

  return {
    name: 'socat',
    async installed() {
      // a process of an open connection has the command line of the one that listens
      const routes = (await forwarders()).map(({ route, process }) => [process.command.join(' '), route] as const)
      return [...new Map(routes).values()]
    },
    async apply(routes) {
      const [held, bound] = await Promise.all([forwarders(), boundSockets()])
      const changes = await inTurn(routes, route => ensure(route, held, bound))
      const done = changes.filter(({ outcome }) => !dryRun || outcome === 'unchanged')
      requireOwn(
        done.map(({ route }) => route),
        await openSockets(),
      )
      return changes
    },
    async remove(routes) {
      if (routes.length === 0) return []
      const held = await forwarders()
      return inTurn(routes, route => remove(route, held))
    },
  }
}

/** socat listens some milliseconds after its start: worth waiting for, rather than asking again after a longer pause. */
async function listensSoon({ listen }: Route): Promise<boolean> {
  for (let attempt = 0; attempt < 10; attempt += 1) {
    if (await isListenedOn(listen)) return true
    await pause(4)
  }
  return false
}

/** A socat of ours and the route it serves. */
interface Forwarder {
  route: Route
  process: ProcessIdentity & { command: readonly string[] }
}

async function forwarders(): Promise<Forwarder[]> {
  const found = await findProcesses(command => routeOfSocat(command) !== undefined)
  return found.map(process => ({ route: routeOfSocat(process.command)!, process }))
}

/** Whether a process runs just what we would start for the route now; one of an earlier version may lead there in another way. */
function isCurrent({ command }: { command: readonly string[] }, route: Route): boolean {
  return command.join('\0') === socatCommand(route).join('\0')
}

// Somebody may have been quicker than our socat, which then ended: each address has to be held by the process of just its route,
// or by one that this user is not shown (root's).
function requireOwn(routes: readonly Route[], sockets: readonly Listener[]): void {
  for (const route of routes) {
    const holders = holdersOf(route.listen, sockets)
    if (holders.some(({ process }) => process === undefined || isCurrent(process, route))) continue
    const who = holders.map(describeHolder).join(', ') || 'nobody'
    throw new PlatformError(`${addressText(route.listen)} is held by ${who}, not by the route to ${route.service}`)
  }
}
