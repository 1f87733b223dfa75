import { type Platform, type Service, urlOf, webServer } from '../platform/platform.ts'
import { publishedFor } from '../platform/services.ts'
import { addressText } from '../system/address.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import { $, type Shell } from '../system/exec.ts'
import { http } from '../system/http.ts'
import { describeLookup, type Lookups, lookUp } from '../system/lookup.ts'
import { postgres, speaksPostgres, tcp } from '../system/tcp.ts'
import { deadline } from '../system/wait.ts'
import { type Container, describeContainer, isHealthy, projectContainers, type StandIn } from './docker.ts'
import { fullDisk, withFullDisk } from './full-disk.ts'

/**
 * `healthy`: a probe under the documented name was answered. `running`: the engine considers it healthy, and there is nothing to probe from outside.
 * `unhealthy`: the container runs, but does not answer. The others are the engine's.
 */
export type State = 'healthy' | 'running' | 'starting' | 'unhealthy' | 'not created' | Container['state']

/** Whether there is nothing to do about it; of a part of the cluster, too. */
export function isWell({ state }: { state: string }): boolean {
  return state === 'healthy' || state === 'running'
}

export interface ServiceStatus {
  name: string
  group: string
  url: string
  /** Where it listens on this machine: its routes, or the published ports; the container's own address where it has neither. */
  address: string
  state: State
  /** What the probe and the engine reported. */
  detail: string
  /** When it entered its present state, as the engine reports it. */
  since: Date | undefined
  container: string
  image: string
  standIn: StandIn | undefined
  /** What stands in, where it is another program. */
  standInName: string | undefined
}

/** Time for one service to answer, its name looked up and all. */
const probeTimeoutMs = 2000

/** Probes all services at once, from outside and through the engine. Throws where the engine does not answer. */
export async function statusOf(
  platform: Platform,
  {
    shell = $,
    timeoutMs = probeTimeoutMs,
    resolve = lookUp,
  }: { shell?: Shell; timeoutMs?: number; resolve?: typeof lookUp } = {},
): Promise<ServiceStatus[]> {
  const probes = new Map(platform.services.map(service => [service.name, probeOf(service)]))
  const names = [...probes.values()].flatMap(probe => (probe?.name === undefined ? [] : [probe.name]))
  const lookups = resolve(
    [...new Set(names)].map(name => ({ name, family: 4 })),
    timeoutMs,
  )
  const engine = projectContainers(platform, shell)
  const answers = await Promise.all([
    engine,
    ...platform.services.map(({ name }) => look(probes.get(name), lookups, timeoutMs)),
  ])
  const [containers, ...seen] = answers
  const byService = new Map(containers.map(container => [container.service, container]))
  const services = platform.services.map((service, index) =>
    describe(service, platform.services, byService.get(service.name), seen[index]),
  )
  const unwell = services.filter(service => !isWell(service) && byService.has(service.name))
  const full = await withFullDisk(
    unwell.map(({ container }) => container),
    shell,
  )
  return services.map(service =>
    full.has(service.container) ? { ...service, detail: `${service.detail}; ${fullDisk}` } : service,
  )
}

/** The request that shows from outside whether a service works. */
export interface Probe {
  /** Name to look up; undefined where the address is what is documented. */
  name: string | undefined
  ip: string
  port: number
  /** Path of a GET request; undefined = the port has to accept connections. */
  path: string | undefined
  /** The request as a person would write it. */
  text: string
}

/** The probe for a service's health, by its documented name or address; undefined where it cannot be reached from outside. */
export function probeOf(service: Service): Probe | undefined {
  const { health, hosts, ports, published, names, loopback } = service
  if (health === undefined) return undefined
  const page = hosts.find(({ port }) => port === health.port)
  if (health.path !== undefined && page !== undefined)
    return {
      name: page.name,
      ip: loopback,
      port: 80,
      path: health.path,
      text: `http://${page.name}${health.path}`,
    }
  const route = ports.find(({ target }) => target === health.port)
  const [name] = names
  const open = published.find(({ containerPort, protocol }) => containerPort === health.port && protocol === 'tcp')
  const where =
    route !== undefined && name !== undefined
      ? { name, ip: loopback, port: route.listen }
      : open && { name: undefined, ip: open.ip, port: open.hostPort }
  if (where === undefined) return undefined
  const text = `${where.name ?? where.ip}:${where.port}`
  return { ...where, path: health.path, text: health.path === undefined ? text : `http://${text}${health.path}` }
}

type Seen = { ok: boolean; detail: string } | undefined

async function look(probe: Probe | undefined, lookups: Lookups, timeoutMs: number): Promise<Seen> {
  if (probe === undefined) return undefined
  const { signal, done } = deadline(timeoutMs)
  try {
    return { ok: true, detail: await askProbe(probe, lookups, signal) }
  } catch (error) {
    return { ok: false, detail: messageOf(error) }
  } finally {
    done()
  }
}

/** Makes the request and returns what was answered, for a person; throws where that is not what a working service answers. */
export async function askProbe(probe: Probe, lookups: Lookups, signal: AbortSignal): Promise<string> {
  const { name, port, path } = probe
  let { ip } = probe
  if (name !== undefined) {
    const answer = await lookups(name)
    const [address] = answer.addresses
    if (address === undefined) throw new PlatformError(`${name} does not resolve: ${describeLookup(answer)}`)
    ip = address
  }
  if (path === undefined) {
    await (speaksPostgres(port) ? postgres : tcp)({ ip, port }, signal)
    return `${addressText({ ip, port })} answers`
  }
  const { status } = await http(probe.text, { ip, signal })
  if (status < 200 || status > 299) throw new PlatformError(`${probe.text} answers ${status}`)
  return `${probe.text} answers ${status}`
}

function describe(
  service: Service,
  services: readonly Service[],
  container: Container | undefined,
  seen: Seen,
): ServiceStatus {
  const state = stateOf(container, seen)
  const engine = describeContainer(container)
  return {
    name: service.name,
    group: service.group,
    url: urlOf(service),
    address: addressOf(service, services),
    state,
    detail:
      seen === undefined || container?.state !== 'running'
        ? engine
        : seen.ok
          ? seen.detail
          : `${seen.detail}; container ${engine}`,
    since: container?.since,
    container: service.container,
    image: service.image,
    standIn: container?.standIn,
    standInName: container?.standInName,
  }
}

function stateOf(container: Container | undefined, seen: Seen): State {
  if (container === undefined) return 'not created'
  if (container.state !== 'running') return container.state
  if (seen?.ok) return 'healthy'
  if (container.health === 'starting') return 'starting'
  if (seen === undefined) return isHealthy(container) ? 'running' : 'unhealthy'
  return 'unhealthy'
}

function addressOf(service: Service, services: readonly Service[]): string {
  const { name, hosts, ports, loopback, address } = service
  if (ports.length > 0 && name !== webServer) return `${loopback}:${ports.map(({ listen }) => listen).join(',')}`
  const own = publishedFor(service, services).filter(({ protocol }) => protocol === 'tcp')
  if (own.length > 0) return own.map(({ ip, hostPort }) => `${ip}:${hostPort}`).join(', ')
  return hosts.length > 0 ? `${loopback}:80` : address
}
