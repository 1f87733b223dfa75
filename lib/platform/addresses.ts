import type { ComposeService, ReadCompose } from './catalogue.ts'
import type { Settings } from './settings.ts'

/** What compose files call the network that every service is on. */
export const networkKey = 'macula-infra'

/** Name of that network in the Docker engine. */
export function networkName({ MACULA_PROJECT }: Pick<Settings, 'MACULA_PROJECT'>): string {
  return `${MACULA_PROJECT}-infra`
}

/** Name of a service's container where the compose file gives none. */
export function containerName({ MACULA_PROJECT }: Pick<Settings, 'MACULA_PROJECT'>, service: string): string {
  return `${MACULA_PROJECT}-${service}`
}

/** Moves what is written for the default addresses to the ones in the settings; other addresses stay. */
export interface AddressShift {
  subnet(address: string): string
  loopback(address: string): string
}

/** The templates are written for the default subnet and loopback addresses; this moves them to the ones in the settings. */
export function addressShift(settings: Settings, defaults: Settings): AddressShift {
  const prefixOf = (subnet: string) => `${subnet.split('.').slice(0, 2).join('.')}.`
  const [from, to] = [prefixOf(defaults.MACULA_SUBNET), prefixOf(settings.MACULA_SUBNET)]
  const base = settings.MACULA_LOOPBACK.split('.').map(Number)
  return {
    subnet: address => (address.startsWith(from) ? to + address.slice(from.length) : address),
    loopback: address =>
      /^127\.0\.0\.\d+$/.test(address)
        ? [...base.slice(0, 3), (base[3] ?? 1) + Number(address.split('.')[3]) - 1].join('.')
        : address,
  }
}

/** Fills in what a service needs to take part: container name, an address of its own, the settings' addresses. */
export function settleAddresses(
  compose: ReadCompose,
  shift: AddressShift,
  settings: Settings,
  all: readonly ReadCompose[],
): void {
  const taken = new Set<string>()
  for (const { content } of all)
    for (const service of Object.values(content.services ?? {})) taken.add(ownAddress(service) ?? '')
  let next = 200
  const free = () => {
    const prefix = settings.MACULA_SUBNET.split('.').slice(0, 2).join('.')
    while (taken.has(`${prefix}.0.${next}`)) next += 1
    taken.add(`${prefix}.0.${next}`)
    return `${prefix}.0.${next}`
  }
  for (const [name, service] of Object.entries(compose.content.services ?? {})) {
    const first = all.find(({ content }) => content.services?.[name] !== undefined) === compose
    if (first) service.container_name ??= containerName(settings, name)
    const address = ownAddress(service)
    if (address !== undefined)
      service.networks = {
        ...networksOf(service),
        [networkKey]: { ...networksOf(service)[networkKey], ipv4_address: shift.subnet(address) },
      }
    else if (first && service.network_mode === undefined)
      service.networks = {
        ...networksOf(service),
        [networkKey]: { ...networksOf(service)[networkKey], ipv4_address: free() },
      }
    if (service.ports)
      service.ports = service.ports.map(port =>
        typeof port === 'string'
          ? port.replace(/^127\.0\.0\.\d+/, shift.loopback)
          : { ...port, ...(port.host_ip ? { host_ip: shift.loopback(port.host_ip) } : {}) },
      )
  }
}

function networksOf(service: ComposeService): Record<string, { ipv4_address?: string } | null> {
  if (Array.isArray(service.networks)) return Object.fromEntries(service.networks.map(name => [name, null]))
  return service.networks ?? {}
}

/** The fixed address a service has on the platform's network, if any. */
export function ownAddress(service: ComposeService): string | undefined {
  return networksOf(service)[networkKey]?.ipv4_address
}
