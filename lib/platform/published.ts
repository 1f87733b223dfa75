import ipaddr from 'ipaddr.js'
import type { Problem } from '../system/errors.ts'
import type { PublishedPort } from './compose-file.ts'
import type { MergedService } from './merge.ts'

/** A port of this machine that Compose connects with one of a container. */
export interface Published {
  ip: string
  hostPort: number
  containerPort: number
  protocol: 'tcp' | 'udp'
}

interface Written {
  ip: string
  host: string
  container: string
  protocol: string
}

/** The ports that a service publishes, ranges one by one. Those that other machines could reach, or whose number is not fixed, are problems. */
export function publishedPorts({ ports }: MergedService, problems: Problem[]): Published[] {
  return ports.flatMap(({ port, where }) => {
    const text = typeof port === 'object' ? JSON.stringify(port) : JSON.stringify(String(port))
    const written = typeof port === 'object' ? longForm(port) : shortForm(String(port))
    const what = written === undefined ? `should be like ${example}` : problemWith(written)
    if (what === undefined) return expand(written!)
    problems.push({ where, what: `${text} ${what}` })
    return []
  })
}

const example = '"127.0.0.9:8080:80"'

function shortForm(text: string): Written | undefined {
  const [, bracketed, plain, host, container, protocol] =
    /^(?:(?:\[([^\]]*)\]|([^:]*)):(?=[^:]*:))?(?:([\d-]*):)?(\d+(?:-\d+)?)(?:\/(\w+))?$/.exec(text) ?? []
  if (container === undefined) return undefined
  return { ip: bracketed ?? plain ?? '', host: host ?? '', container, protocol: (protocol ?? 'tcp').toLowerCase() }
}

function longForm({ host_ip = '', published, target, protocol = 'tcp' }: PublishedPort): Written {
  return { ip: String(host_ip), host: String(published ?? ''), container: String(target), protocol: String(protocol) }
}

function problemWith({ ip, host, container, protocol }: Written): string | undefined {
  if (!/^(tcp|udp|sctp)$/.test(protocol)) return `has the protocol ${protocol}; write tcp or udp`
  if (ip === '') return `would listen outside this machine; write it with a loopback address, like ${example}`
  if (ipaddr.IPv6.isValid(ip)) return `has an IPv6 address; the platform is IPv4 only, so write it like ${example}`
  if (!ipaddr.IPv4.isValidFourPartDecimal(ip)) return `has no valid address: ${ip}`
  if (ipaddr.IPv4.parse(ip).range() !== 'loopback')
    return `would listen outside this machine; write it with a loopback address, like ${example}`
  if (host === '') return `has no fixed port on this machine; write one, like ${example}`
  const [hosts, containers] = [rangeOf(host), rangeOf(container)]
  if (hosts === undefined || containers === undefined)
    return 'should have ports from 1 to 65535, ranges from low to high'
  return containers.length === 1 || hosts.length === containers.length
    ? undefined
    : `has ${hosts.length} ports on this machine for ${containers.length} of the container`
}

function expand({ ip, host, container, protocol }: Written): Published[] {
  if (protocol !== 'tcp' && protocol !== 'udp') return []
  const containers = rangeOf(container) ?? []
  return (rangeOf(host) ?? []).map((hostPort, index) => ({
    ip,
    hostPort,
    // several for one: Docker takes the first that is free, so all of them count as taken
    containerPort: containers[index] ?? containers[0] ?? 0,
    protocol,
  }))
}

function rangeOf(text: string): number[] | undefined {
  const [first = 0, last = first] = /^\d+(-\d+)?$/.test(text) ? text.split('-').map(Number) : []
  if (first < 1 || last > 65535 || last < first) return undefined
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}
