import { clusterRoutes, nodeNames } from '../platform/ingress-routes.ts'
import type { Platform, Route } from '../platform/platform.ts'
import { type Address, addressText } from '../system/address.ts'
import { describeHolder, hintToFree, holdersOf, type Listener, type Protocol, tryBind } from '../system/ports.ts'
import type { Check, Finding } from './finding.ts'

/** An address that the platform listens on, once it is up. */
export interface NeededAddress extends Address {
  protocol: Protocol
  service: string
  /** Only the cluster needs it: everything else works without. */
  cluster?: true
}

/** An address with what stands there now. */
export interface AddressState extends NeededAddress {
  state: 'free' | 'ours' | 'taken'
  holder: Listener | undefined
}

/** Every address that the platform listens on: published by Compose, routed, and those of the cluster. DNS chooses its own (see dns.ts). */
export function neededAddresses(platform: Platform): NeededAddress[] {
  const { services, routes, settings, applications, loopback } = platform
  const tcp = ({ listen, service }: Route): NeededAddress => ({ ...listen, protocol: 'tcp', service })
  const cluster: NeededAddress[] =
    settings.CLUSTER === 'kind'
      ? [
          ...clusterRoutes(platform).map(route => ({ ...tcp(route), cluster: true as const })),
          ...[settings.INGRESS_HTTP_PORT, settings.INGRESS_HTTPS_PORT].map(port => ({
            ip: loopback,
            port: Number(port),
            protocol: 'tcp' as const,
            service: 'ingress',
            cluster: true as const,
          })),
          { ip: applications.loopback, port: 4433, protocol: 'udp', service: 'peers', cluster: true },
        ]
      : []
  return [
    ...services.flatMap(({ name, published }) =>
      published.map(({ ip, hostPort, protocol }) => ({ ip, port: hostPort, protocol, service: name })),
    ),
    ...routes.map(tcp),
    ...cluster,
  ]
}

/** What stands at each address. `routes` are those that an engine of ours holds, by the address they listen on. */
export async function addressStates(
  platform: Platform,
  table: readonly Listener[],
  routes: readonly Route[],
  bind: typeof tryBind = tryBind,
): Promise<AddressState[]> {
  const ours = new Set([...platform.services.map(({ container }) => container), ...nodeNames(platform)])
  const routed = new Set(routes.map(({ listen }) => addressText(listen)))
  return Promise.all(
    neededAddresses(platform).map(async needed => {
      const [holder] = holdersOf(needed, table, needed.protocol)
      if (holder === undefined) return { ...needed, state: 'free', holder }
      const isOurs =
        (holder.container !== undefined && ours.has(holder.container)) ||
        (holder.ip === needed.ip && routed.has(addressText(needed)))
      if (isOurs) return { ...needed, state: 'ours', holder }
      // `::` may or may not take IPv4 along: only a bind shows it
      const free = holder.ip === '::' && needed.protocol === 'tcp' && (await bind(needed)) === 'free'
      return free ? { ...needed, state: 'free', holder: undefined } : { ...needed, state: 'taken', holder }
    }),
  )
}

/** The state of one address, in words. */
export function describeState({ state, holder }: AddressState): string {
  return holder === undefined ? state : `${state}: ${describeHolder(holder)}`
}

/** Every address the platform needs: free, ours already, or taken and by whom. */
export function portsCheck(look: () => Promise<AddressState[]>): Check {
  const check = 'Ports'
  return {
    name: check,
    async look() {
      const states = await look()
      const taken = states.filter(({ state }) => state === 'taken').map(takenFinding)
      const [free, ours] = (['free', 'ours'] as const).map(
        wanted => states.filter(({ state }) => state === wanted).length,
      )
      const summary: Finding = {
        check,
        state: 'ok',
        detail: `of ${states.length} addresses ${free} are free${ours === 0 ? '' : `, ${ours} are held by the platform`}`,
      }
      return free === 0 && ours === 0 ? taken : [summary, ...taken]
    },
  }
}

/** `127.0.0.2:80`, `127.0.0.2:4433/udp` */
export function nameOf({ ip, port, protocol }: Pick<NeededAddress, 'ip' | 'port' | 'protocol'>): string {
  return `${ip}:${port}${protocol === 'udp' ? '/udp' : ''}`
}

// An address of the cluster is no reason to go without all the rest; setup-cluster looks again, and stops.
function takenFinding({ ip, port, protocol, service, holder, cluster }: AddressState): Finding {
  const where = holder!.ip === ip ? '' : `, which listens on ${holder!.ip === '::' ? '[::]' : holder!.ip}:${port}`
  return {
    check: nameOf({ ip, port, protocol }),
    state: cluster ? 'warn' : 'fail',
    detail: `${service}${cluster ? ' of the cluster' : ''} needs it; held by ${describeHolder(holder!)}${where}`,
    hint: hintToFree(holder!),
  }
}
