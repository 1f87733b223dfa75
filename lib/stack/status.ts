import { type Platform, type Service, urlOf, webServer } from '../platform/platform.ts'
import { addressText } from '../system/address.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import { ask, type Runner } from '../system/exec.ts'
import { http } from '../system/http.ts'
import { describeLookup, type Lookups, lookUp } from '../system/lookup.ts'
import { postgres, speaksPostgres, tcp } from '../system/tcp.ts'
import { deadline } from '../system/wait.ts'
import { type Container, describeContainer, isWell, projectContainers, type StandIn } from './docker.ts'

/**
 * `healthy`: a probe under the documented name got its answer. `running`: the engine is content, and there is nothing to ask from outside.
 * `unhealthy`: the container runs, but does not answer. The others are the engine's.
 */
export type State = 'healthy' | 'running' | 'starting' | 'unhealthy' | 'not created' | Container['state']

export interface ServiceStatus {
  name: string
  group: string
  url: string
  /** Where it listens on this machine: its routes, or the published ports; the container's address where neither leads to it. */
  address: string
  state: State
  /** What was seen, in words. */
  detail: string
  /** When it took up its present state, in the engine's eyes. */
  since: Date | undefined
  container: string
  image: string
  standIn: StandIn | undefined
  /** What stands in, where it is another program. */
  standInName: string | undefined
}

/** Time for one service to answer, its name looked up and all. */
const probeTimeoutMs = 2000

/** Looks at all services at once, from outside and through the engine. Throws where the engine cannot be asked. */
export async function statusOf(
  platform: Platform,
  {
    asker = ask,
    timeoutMs = probeTimeoutMs,
    resolve = lookUp,
  }: { asker?: Runner; timeoutMs?: number; resolve?: typeof lookUp } = {},
): Promise<ServiceStatus[]> {
  const probes = new Map(platform.services.map(service => [service.name, probeOf(service)]))
  const names = [...probes.values()].flatMap(probe => (probe?.name === undefined ? [] : [probe.name]))
  const lookups = resolve(
    [...new Set(names)].map(name => ({ name, family: 4 })),
    timeoutMs,
  )
  const engine = projectContainers(platform, asker)
  const answers = await Promise.all([
    engine,
    ...platform.services.map(({ name }) => look(probes.get(name), lookups, timeoutMs)),
  ])
  const [containers, ...seen] = answers
  const byService = new Map(containers.map(container => [container.service, container]))
  return platform.services.map((service, index) => describe(service, byService.get(service.name), seen[index]))
}

/** What to ask from outside to know whether a service works. */
export interface Probe {
  /** Name to look up; undefined where the address is what is documented. */
  name: string | undefined
  ip: string
  port: number
  /** Path to get; undefined = the port has to answer. */
  path: string | undefined
  /** How a person would write what is asked. */
  text: string
}

/** The probe for a service's health, by its documented name or address; undefined where nothing outside leads to it. */
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

/** Asks a probe and returns what it answered in words; throws where that is not what a working service answers. */
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

function describe(service: Service, container: Container | undefined, seen: Seen): ServiceStatus {
  const state = stateOf(container, seen)
  const engine = describeContainer(container)
  return {
    name: service.name,
    group: service.group,
    url: urlOf(service),
    address: addressOf(service),
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
  if (seen === undefined) return isWell(container) ? 'running' : 'unhealthy'
  return 'unhealthy'
}

function addressOf({ name, hosts, ports, published, loopback, address }: Service): string {
  if (ports.length > 0 && name !== webServer) return `${loopback}:${ports.map(({ listen }) => listen).join(',')}`
  const own = published.filter(({ protocol }) => protocol === 'tcp')
  if (own.length > 0) return own.map(({ ip, hostPort }) => `${ip}:${hostPort}`).join(', ')
  return hosts.length > 0 ? `${loopback}:80` : address
}

/** How long ago, in the largest unit that says enough: `12 s`, `3 min`, `5 h`, `2 days`. */
export function elapsed(since: Date | undefined, now: Date): string {
  if (since === undefined) return ''
  const seconds = Math.max(0, Math.round((now.getTime() - since.getTime()) / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} days`
}
