import type { Route } from '../platform.ts'
import { openSockets } from '../ports.ts'
import type { Privilege } from '../privilege.ts'
import { endProcess, findProcesses } from '../processes.ts'
import {
  inTurn,
  type OpenJournal,
  type RouteChange,
  type RouteEngine,
  routeName,
  sameListen,
  sameRoute,
  scopeOf,
} from './engine.ts'

/** socat has one process per connection; this many at once are far more than a developer's machine makes, and no danger to it; as many may wait to be accepted (socat's own 5 make a busy page wait). */
const maxConnections = 1000
/** A container that is gone answers with nothing at all, and a client should hear so soon. */
const connectTimeoutSeconds = 3
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
  if (!group || !service || !listenIp || !targetIp) return undefined
  return {
    group,
    service,
    listen: { ip: listenIp, port: Number(listenPort) },
    target: { ip: targetIp, port: Number(targetPort) },
  }
}

/** Routes as detached socat processes: they outlive the task and the terminal, but not a reboot. */
export function socatEngine(openJournal: OpenJournal, privilege: Privilege, dryRun = false): RouteEngine {
  async function remove(route: Route): Promise<RouteChange> {
    const before = await runningAt(route)
    const ended = await openJournal(scopeOf(route.group)).endProcess(routeName(route))
    // what the journal does not know (its folder was deleted) is recognised all the same
    if (!dryRun) for (const process of await runningAt(route)) await endProcess(process, privilege)
    return { route, outcome: before.length > 0 || ended === 'removed' ? 'removed' : 'unchanged' }
  }

  async function ensure(route: Route): Promise<RouteChange> {
    const others = (await runningAt(route)).filter(process => !sameRoute(routeOfSocat(process.command)!, route))
    if (others.length > 0) await remove(route)
    const started = await openJournal(scopeOf(route.group)).startProcess({
      name: routeName(route),
      command: socatCommand(route),
      ready: () => listensAs(route),
    })
    return { route, outcome: others.length > 0 ? 'updated' : started }
  }

  return {
    name: 'socat',
    async installed() {
      const held = await findProcesses(command => routeOfSocat(command) !== undefined)
      // a process of an open connection has the command line of the one that listens
      return [...new Map(held.map(({ command }) => [command.join(' '), routeOfSocat(command)!])).values()]
    },
    apply: routes => inTurn(routes, ensure),
    remove: routes => inTurn(routes, remove),
  }
}

function runningAt(route: Route) {
  return findProcesses(command => {
    const held = routeOfSocat(command)
    return held !== undefined && sameListen(held, route)
  })
}

/** Whether the address is held by the process of just this route, or by one that this user is not shown (root's). */
async function listensAs(route: Route): Promise<boolean> {
  const wanted = socatCommand(route).join('\0')
  return (await openSockets()).some(
    ({ protocol, ip, port, process }) =>
      protocol === 'tcp' &&
      ip === route.listen.ip &&
      port === route.listen.port &&
      (process === undefined || process.command.join('\0') === wanted),
  )
}
