import { type Owner, signature } from '../platform/owner.ts'
import type { Route } from '../platform/platform.ts'
import { fillTemplate, readTemplate } from '../platform/render.ts'
import { addressText } from '../system/address.ts'
import { routeName, routeOfFields } from './engine.ts'

/** A systemd unit: its file name and text. */
export interface Unit {
  name: string
  content: string
}

/** Where local administration keeps units. */
export const unitFolder = '/etc/systemd/system'

/** Open connections per route; systemd's own 256 would be used up by the idle ones of a few browsers and pools. */
const maxConnections = 4096
/** Two sockets and two pipes of two ends each per connection, and some for the program itself. */
const maxFiles = 6 * maxConnections + 64

/** Base name of a route's two units. */
export function unitName(route: Route): string {
  return `macula-${routeName(route)}`
}

/** The units of a route: the socket that systemd holds, and the forwarder it starts with the first connection. */
export async function routeUnits(route: Route, proxy: string, owner: Owner): Promise<{ socket: Unit; service: Unit }> {
  const [listen, target] = [addressText(route.listen), addressText(route.target)]
  const { group, service } = route
  return {
    socket: await render(`${unitName(route)}.socket`, 'macula-route.socket', {
      owner: signature(owner),
      listen,
      service,
      route: `${group} ${service} ${listen} ${target}`,
    }),
    service: await render(`${unitName(route)}.service`, 'macula-route.service', {
      owner: signature(owner),
      name: routeName(route),
      listen,
      service,
      target,
      proxy,
      connections: String(maxConnections),
      files: String(maxFiles),
      // an address of this machine itself is in `localhost` already
      network: route.target.ip.startsWith('127.') ? '' : `${route.target.ip.split('.').slice(0, 2).join('.')}.0.0/16`,
      quickly: route.target.ip.startsWith('127.') ? '' : giveUpQuickly(route.target.ip),
    }),
  }
}

// The kernel sends three ARP requests for a container that is gone, a second apart. On a bridge of this machine the answer comes at once or never,
// so a tenth of that will do. /proc/net/route has the network as a number of this machine, lowest byte first.
function giveUpQuickly(ip: string): string {
  const [first, second] = ip.split('.').map(octet => Number(octet).toString(16).toUpperCase().padStart(2, '0'))
  const retry = '/proc/sys/net/ipv4/neigh/$$link/retrans_time_ms'
  return [
    '# a client of a container that is gone hears so in a third of a second, not after three',
    `ExecStartPre=+-/bin/sh -c 'while read -r link network rest; do [ "$$network" != 0000${second}${first} ] || [ ! -e ${retry} ] || echo 100 >${retry}; done </proc/net/route'`,
  ].join('\n')
}

/** The route that a socket unit of ours was rendered for; undefined for any other text. */
export function routeOfUnit(text: string): Route | undefined {
  return routeOfFields(/^Route=(\S+) (\S+) ([\d.]+):(\d+) ([\d.]+):(\d+)$/m.exec(text)?.slice(1) ?? [])
}

/** The protocol number that marks routes of macula-network.service in the kernel's table: one that no other program uses. */
export const networkProtocol = '77'

/** What the boot units contain of this checkout. */
export interface BootUnits {
  /** The network of the containers: `172.23.0.0/16`. */
  network: string
  /** Folder of this checkout. */
  root: string
  /** Its state folder has the rendered compose files. */
  owner: Owner
  /** Environment that `docker compose` needs there. */
  environment: Readonly<Record<string, string>>
}

/**
 * The target over all units of the platform, the unit that starts the containers at boot, and the one that refuses connections to containers
 * while their network does not exist; `ip` is the path of that program.
 */
export async function bootUnits(
  { root, owner, environment, network }: BootUnits,
  ip: string,
): Promise<{ target: Unit; stack: Unit; network: Unit }> {
  const lines = Object.entries(environment).map(([name, value]) => `Environment="${name}=${escaped(value)}"`)
  return {
    target: await render('macula.target', 'macula.target', {
      owner: signature(owner),
      root: escapedPath(root),
    }),
    stack: await render('macula-stack.service', 'macula-stack.service', {
      owner: signature(owner),
      // a backslash at the end of a line joins the next one to it, and blanks there are no part of the path
      state: owner.stateDir.replaceAll('%', '%%').replace(/[\\\s]$/, '$&/.'),
      environment: lines.join('\n'),
    }),
    network: await render('macula-network.service', 'macula-network.service', {
      owner: signature(owner),
      ip,
      network,
      protocol: networkProtocol,
    }),
  }
}

// `%` starts a specifier everywhere in a unit; quotes and backslashes mean something inside quotes
function escaped(value: string): string {
  return value.replaceAll('%', '%%').replace(/["\\]/g, '\\$&')
}

/** A path as part of a URL in a unit, where an apostrophe begins a quoted word. */
function escapedPath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/').replaceAll("'", '%27').replaceAll('%', '%%')
}

async function render(name: string, template: string, values: Record<string, string>): Promise<Unit> {
  const path = `systemd/${template}`
  return { name, content: fillTemplate(await readTemplate(path), values, path).replace(/[ \t]+$/gm, '') }
}
