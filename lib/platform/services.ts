import ipaddr from 'ipaddr.js'
import type { Problem } from '../system/errors.ts'
import { type Addition, type AddressShift, containerName, networkKey } from './addresses.ts'
import type { ServiceBlock } from './catalogue.ts'
import type { MergedService } from './merge.ts'
import { type Published, publishedPorts } from './published.ts'
import type { Settings } from './settings.ts'

/** A web page under a name of the domain. */
export interface VirtualHost {
  /** First label, like `grafana`. */
  host: string
  /** Full name, like `grafana.macula.local`. */
  name: string
  path: string
  /** Container port that serves it. */
  port: number
}

/** A port of a service that is routed to it from its loopback address. */
export interface RoutedPort {
  listen: number
  target: number
  /** Port of the web server that forwards it, which only HTTP has: there a request from a foreign web page is refused. */
  gateway?: number
}

export interface Service {
  name: string
  container: string
  /** The image that it runs; for one that is built, the name that Compose gives it. */
  image: string
  /** Whether Compose builds the image, so that there is nothing to pull. */
  isBuilt: boolean
  /** Address on the containers' network. */
  address: string
  group: string
  hosts: VirtualHost[]
  /** DNS names of its own, in the order of `host`. */
  names: string[]
  /** Loopback address of its own routes; the first one for services that are reached by name only. */
  loopback: string
  ports: RoutedPort[]
  /** Ports of the container that speak HTTP, as `host`, `web`, `health` and `metrics` name them. */
  httpPorts: number[]
  published: Published[]
  /** What answers when it works: an HTTP path, or just a TCP port where `path` is undefined. */
  health: { port: number; path: string | undefined } | undefined
  metrics: { port: number; path: string } | undefined
  title: string
  description: string
}

/** A service as the platform uses it, out of all that the files say of it; what is wrong goes to `problems`. */
export function describeService(
  name: string,
  merged: MergedService,
  { container_name, networks }: Addition,
  settings: Settings,
  problems: Problem[],
  shift: AddressShift,
): Service {
  const { locate } = merged
  const block: Partial<ServiceBlock> = merged.block
  if (Object.keys(block).length > 0 && block.group === undefined)
    problems.push({
      where: locate('x-macula'),
      what: `services.${name}.x-macula.group is missing; known: infrastructure, observability, data, or one of your own`,
    })
  const loopback = block.loopback === undefined ? settings.MACULA_LOOPBACK : shift.loopback(block.loopback)
  if (!ipaddr.IPv4.isValidFourPartDecimal(loopback))
    problems.push({
      where: locate('x-macula', 'loopback'),
      what: `services.${name}.x-macula.loopback ${block.loopback} is ${loopback} from MACULA_LOOPBACK=${settings.MACULA_LOOPBACK} on, which does not exist; write a lower one`,
    })
  const ports = (block.ports ?? []).map(port => {
    const [listen, target = listen] = String(port).split(':').map(Number)
    return { listen: listen ?? 0, target: target ?? 0 }
  })
  const web = Array.isArray(block.web) ? block.web[0] : (block.web ?? ports[0]?.target)
  const fullName = (host: string) => `${host}.${settings.MACULA_DOMAIN}`
  const pages =
    typeof block.host === 'object'
      ? Object.entries(block.host)
      : block.host !== undefined
        ? [[block.host, web] as const]
        : []
  const hosts = pages.flatMap(([host, port]) =>
    typeof port === 'number' ? [{ host, name: fullName(host), path: block.path ?? '/', port }] : [],
  )
  const health = healthOf(block.health, hosts[0]?.port ?? ports[0]?.target)
  const metrics = portAndPath(block.metrics)
  const address = (networks ?? merged.networks)[networkKey]?.ipv4_address ?? ''
  if (address === '' && (hosts.length > 0 || ports.length > 0 || health !== undefined || metrics !== undefined))
    problems.push({
      where: locate('x-macula'),
      what: `services.${name}.x-macula needs one container with an address on ${networkKey}; leave out ${merged.networkMode === undefined ? 'scale and replicas' : 'network_mode'}`,
    })
  return {
    name,
    container: merged.containerName ?? container_name ?? containerName(settings, name),
    image: merged.image ?? (merged.isBuilt ? `${settings.MACULA_PROJECT}-${name}` : ''),
    isBuilt: merged.isBuilt,
    address,
    group: block.group ?? 'other',
    hosts,
    names: pages.map(([host]) => fullName(host)),
    loopback,
    ports,
    httpPorts: [
      ...new Set([
        ...hosts.map(({ port }) => port),
        ...(Array.isArray(block.web) ? block.web : []),
        ...(health?.path === undefined ? [] : [health.port]),
        ...(metrics === undefined ? [] : [metrics.port]),
      ]),
    ],
    published: publishedPorts(merged, problems),
    health,
    metrics,
    title: block.title ?? name,
    description: block.description ?? '',
  }
}

function healthOf(health: string | undefined, port: number | undefined): Service['health'] {
  if (health === undefined) return undefined
  const tcp = /^tcp(?:\/(\d+))?$/.exec(health)
  if (tcp !== null) {
    const [, own = port] = tcp
    return own === undefined ? undefined : { port: Number(own), path: undefined }
  }
  return health.startsWith('/') ? { port: port ?? 80, path: health } : portAndPath(health)
}

function portAndPath(text: string | undefined): { port: number; path: string } | undefined {
  if (text === undefined) return undefined
  const slash = text.indexOf('/')
  return { port: Number(text.slice(0, slash)), path: text.slice(slash) }
}

/** What a service publishes for itself; the web server also publishes ports of services on the first loopback address. */
export function publishedFor(service: Service, services: readonly Service[]): Published[] {
  const others = services.filter(other => other !== service)
  return service.published.filter(
    ({ ip, hostPort }) =>
      !others.some(({ loopback, ports }) => loopback === ip && ports.some(({ listen }) => listen === hostPort)),
  )
}

/**
 * The services with a port of the web server for each routed port that speaks HTTP: the same number where it is free there, else one from 10000 on.
 * Those on the first loopback address keep their number, because the compose file publishes it.
 */
export function withGatewayPorts(services: readonly Service[], firstLoopback: string, webServer: string): Service[] {
  const taken = new Set([80])
  let next = 10_000
  const free = (wanted: number) => {
    let port = wanted
    for (; taken.has(port); next += 1) port = next
    taken.add(port)
    return port
  }
  const assigned = new Map<RoutedPort, RoutedPort>()
  const isFirst = ({ loopback }: Service) => loopback === firstLoopback
  for (const service of [...services.filter(isFirst), ...services.filter(service => !isFirst(service))]) {
    if (service.name === webServer) continue
    for (const port of service.ports)
      if (service.httpPorts.includes(port.target)) assigned.set(port, { ...port, gateway: free(port.listen) })
  }
  return services.map(service => ({ ...service, ports: service.ports.map(port => assigned.get(port) ?? port) }))
}
