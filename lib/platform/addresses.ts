import ipaddr from 'ipaddr.js'
import type { Problem } from '../system/errors.ts'
import type { ComposeFile } from './compose-file.ts'
import type { MergedService } from './merge.ts'
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

/** Services on the machine's own network, where they ask programs that listen on its loopback addresses. They listen nowhere themselves. */
export const onMachineNetwork: readonly string[] = ['dnsmasq-metrics']

/** Moves what is written for the default addresses to the ones in the settings; other addresses stay. */
export interface AddressShift {
  subnet(address: string): string
  loopback(address: string): string
}

/** The templates are written for the default subnet and loopback addresses; this moves them to the ones in the settings. */
export function addressShift(settings: Settings, defaults: Settings): AddressShift {
  const [from, to] = [prefixOf(defaults), prefixOf(settings)]
  const base = settings.MACULA_LOOPBACK.split('.').map(Number)
  return {
    subnet: address => (address.startsWith(from) ? to + address.slice(from.length) : address),
    loopback: address =>
      /^127\.0\.0\.\d+$/.test(address)
        ? [...base.slice(0, 3), (base[3] ?? 1) + Number(address.split('.')[3]) - 1].join('.')
        : address,
  }
}

/** Our own file with its addresses moved. */
export function withAddresses(ours: ComposeFile, shift: AddressShift): ComposeFile {
  const services = Object.entries(ours.services ?? {}).map(([name, service]) => {
    const networks = Object.entries((service.networks ?? {}) as MergedService['networks']).map(([key, network]) => [
      key,
      network?.ipv4_address ? { ...network, ipv4_address: shift.subnet(network.ipv4_address) } : network,
    ])
    const ports = service.ports?.map(port => String(port).replace(/^127\.0\.0\.\d+/, shift.loopback))
    return [name, { ...service, networks: Object.fromEntries(networks), ...(ports ? { ports } : {}) }]
  })
  return { ...ours, services: Object.assign(Object.create(null), Object.fromEntries(services)) }
}

/** What the platform adds to a service; each key only where the compose files do not set it. */
export interface Addition {
  container_name?: string
  networks?: Record<string, { ipv4_address: string }>
}

/**
 * A container name and an address on the platform's network for each service that has none; an address for the default subnet is moved to the
 * one in the settings. Addresses that cannot be are problems.
 */
export function additionsFor(
  services: ReadonlyMap<string, MergedService>,
  shift: AddressShift,
  settings: Settings,
  problems: Problem[],
): Map<string, Addition> {
  const fixed = new Map([...services].map(([name, { networks }]) => [name, networks[networkKey]?.ipv4_address]))
  const taken = new Set([...fixed.values()].flatMap(address => (address === undefined ? [] : [shift.subnet(address)])))
  const free = freeAddresses(settings, taken)
  const [prefix, network] = [prefixOf(settings), ipaddr.IPv4.parseCIDR(settings.MACULA_SUBNET)]
  return new Map(
    [...services].map(([name, service]) => {
      const { networkMode, scale, locate } = service
      if (networkMode === 'host' && !onMachineNetwork.includes(name))
        problems.push({
          where: locate('network_mode'),
          what: `services.${name}.network_mode: host makes its ports listen outside this machine; leave it out, and name ports in x-macula`,
        })
      // several containers can share neither a name nor an address
      if (scale > 1) return [name, {}] as const
      const addition: Addition =
        service.containerName === undefined ? { container_name: containerName(settings, name) } : {}
      if (networkMode !== undefined) return [name, addition] as const
      const written = fixed.get(name)
      const address = written === undefined ? (free.next().value ?? '') : shift.subnet(written)
      if (!ipaddr.IPv4.isValidFourPartDecimal(address) || !ipaddr.IPv4.parse(address).match(network))
        problems.push({
          where: locate('networks', networkKey, 'ipv4_address'),
          what: `services.${name}.networks.${networkKey}.ipv4_address ${address} is not in ${settings.MACULA_SUBNET}; write one like ${prefix}0.50`,
        })
      return [
        name,
        address === written ? addition : { ...addition, networks: { [networkKey]: { ipv4_address: address } } },
      ] as const
    }),
  )
}

/** From .0.200 on, above the addresses of the template and of the cluster's nodes; without .0 and .255, which some programs treat as broadcast addresses. */
function* freeAddresses(settings: Settings, taken: ReadonlySet<string>): Generator<string, undefined> {
  const prefix = prefixOf(settings)
  for (let number = 200; number < 255 * 256; number += 1) {
    const address = `${prefix}${number >> 8}.${number & 255}`
    if ((number & 255) % 255 !== 0 && !taken.has(address)) yield address
  }
}

function prefixOf({ MACULA_SUBNET }: Settings): string {
  return `${MACULA_SUBNET.split('.').slice(0, 2).join('.')}.`
}

/** Where the cluster's ingress listens: for the applications, and where KinD maps its ports to. None for a cluster elsewhere. */
export function ingressListeners(
  settings: Settings,
  applications: string,
): { ip: string; port: number; protocol: 'tcp' | 'udp'; target?: number }[] {
  if (settings.CLUSTER === 'existing') return []
  const [http, https] = [Number(settings.INGRESS_HTTP_PORT), Number(settings.INGRESS_HTTPS_PORT)]
  return [
    { ip: applications, port: 80, protocol: 'tcp', target: http },
    { ip: applications, port: 443, protocol: 'tcp', target: https },
    { ip: applications, port: 4433, protocol: 'udp' },
    { ip: settings.MACULA_LOOPBACK, port: http, protocol: 'tcp' },
    { ip: settings.MACULA_LOOPBACK, port: https, protocol: 'tcp' },
  ]
}
