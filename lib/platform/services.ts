import type { Problem } from '../system/errors.ts'
import { type AddressShift, containerName, ownAddress } from './addresses.ts'
import type { ComposeService, ReadCompose, ServiceBlock } from './catalogue.ts'
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

export interface Published {
  ip: string
  hostPort: number
  containerPort: number
  protocol: 'tcp' | 'udp'
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
  image: string
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

/** One service out of all files that say something of it; what is wrong goes to `problems`. */
export function describeService(
  name: string,
  files: readonly ReadCompose[],
  settings: Settings,
  problems: Problem[],
  shift: AddressShift,
): Service {
  const parts = files.flatMap(file =>
    file.content.services?.[name] ? [{ file, service: file.content.services[name] }] : [],
  )
  const merged: ComposeService = Object.assign({}, ...parts.map(({ service }) => service))
  const block: Partial<ServiceBlock> = Object.assign({}, ...parts.map(({ service }) => service['x-macula']))
  const where = parts[0]?.file.locate(['services', name, 'x-macula']) ?? name
  if (Object.keys(block).length > 0 && block.group === undefined)
    problems.push({
      where,
      what: `services.${name}.x-macula.group is missing; known: infrastructure, observability, data, or one of your own`,
    })
  const ports = (block.ports ?? []).map(port => {
    const [listen, target = listen] = String(port).split(':').map(Number)
    return { listen: listen ?? 0, target: target ?? 0 }
  })
  const published = parts.flatMap(({ file, service }) =>
    (service.ports ?? []).flatMap(port => publishedPort(port, `${file.locate(['services', name, 'ports'])}`, problems)),
  )
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
  return {
    name,
    container: merged.container_name ?? containerName(settings, name),
    image: merged.image ?? '',
    address: parts.map(({ service }) => ownAddress(service)).findLast(address => address !== undefined) ?? '',
    group: block.group ?? 'other',
    hosts,
    names: pages.map(([host]) => fullName(host)),
    loopback: block.loopback === undefined ? settings.MACULA_LOOPBACK : shift.loopback(block.loopback),
    ports,
    httpPorts: [
      ...new Set([
        ...hosts.map(({ port }) => port),
        ...(Array.isArray(block.web) ? block.web : []),
        ...(health?.path === undefined ? [] : [health.port]),
        ...(metrics === undefined ? [] : [metrics.port]),
      ]),
    ],
    published,
    health,
    metrics,
    title: block.title ?? name,
    description: block.description ?? '',
  }
}

function healthOf(health: string | undefined, port: number | undefined): Service['health'] {
  if (health === undefined) return undefined
  if (health === 'tcp') return port === undefined ? undefined : { port, path: undefined }
  return health.startsWith('/') ? { port: port ?? 80, path: health } : portAndPath(health)
}

function portAndPath(text: string | undefined): { port: number; path: string } | undefined {
  if (text === undefined) return undefined
  const slash = text.indexOf('/')
  return { port: Number(text.slice(0, slash)), path: text.slice(slash) }
}

function publishedPort(
  port: NonNullable<ComposeService['ports']>[number],
  where: string,
  problems: Problem[],
): Published[] {
  const [, ip, hostPort, containerPort, protocol = 'tcp'] =
    typeof port === 'string'
      ? (/^(?:([\d.]+):)?(?:(\d+):)?(\d+)(?:\/(tcp|udp))?$/.exec(port) ?? [])
      : [undefined, port.host_ip, port.published, port.target, port.protocol]
  if (!ip?.startsWith('127.')) {
    problems.push({
      where,
      what: `${JSON.stringify(port)} would listen outside this machine; write it with a loopback address, like "127.0.0.9:8080:80"`,
    })
    return []
  }
  return [
    {
      ip,
      hostPort: Number(hostPort),
      containerPort: Number(containerPort),
      protocol: protocol === 'udp' ? 'udp' : 'tcp',
    },
  ]
}

/**
 * The services with a port of the web server for each routed port that speaks HTTP: the same number where it is free there, else one from 10000 on.
 * Those on the first loopback address keep their number, because the compose file publishes it.
 */
export function withGatewayPorts(services: readonly Service[], firstLoopback: string, webServer: string): Service[] {
  const taken = new Set([80])
  const free = (wanted: number) => {
    let port = wanted
    for (let next = 10_000; taken.has(port); next += 1) port = next
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
