import { clusterGroup, clusterRoutes, nodeNames } from '../platform/ingress-routes.ts'
import type { Platform, Route } from '../platform/platform.ts'
import { engineTimeout } from '../stack/engine.ts'
import { addressText } from '../system/address.ts'
import { PlatformError } from '../system/errors.ts'
import { $, type Shell } from '../system/exec.ts'
import { type RouteEngine, sameListen, sameRoute } from './engine.ts'

/**
 * The ports that Compose has to publish so that it serves these routes itself: service name → `127.0.0.4:3000:3000`, as its `ports` take them.
 * Routes whose target is not a container of the platform are not part of Compose's files.
 */
export function publishedPorts({ services, routes }: Pick<Platform, 'services' | 'routes'>): Record<string, string[]> {
  const ports: Record<string, string[]> = {}
  for (const { listen, target } of routes) {
    const owner = services.find(({ address }) => address === target.ip)
    if (owner !== undefined) ports[owner.name] = [...(ports[owner.name] ?? []), `${addressText(listen)}:${target.port}`]
  }
  return ports
}

/**
 * Routes that containers publish: those of Compose, and the cluster's node. They come and go with the containers; here they are only looked
 * at, and it is an error where they are not as they should be.
 */
export function publishEngine(platform: Platform, shell: Shell = $): RouteEngine {
  async function installed(): Promise<Route[]> {
    return routesOfContainers(await containers([]), platform)
  }
  // an engine that does not answer publishes nothing
  async function containers(which: readonly string[]): Promise<string> {
    const format = '{{.Names}}\t{{.Ports}}'
    const listed = shell({ timeout: engineTimeout, nothrow: true })`docker ps ${which} --format ${format}`
    return listed.then(
      ({ exitCode, stdout }) => (exitCode === 0 ? stdout : ''),
      () => '',
    )
  }
  async function hasNode(): Promise<boolean> {
    const names = (await containers(['--all'])).split('\n').map(line => line.split('\t')[0] ?? '')
    return nodeNames(platform).some(name => names.includes(name))
  }
  return {
    name: 'publish',
    installed,
    foreign: async () => [],
    async apply(routes) {
      const held = await installed()
      const missing = routes.filter(route => !held.some(other => sameRoute(route, other)))
      // a cluster that is still to be created publishes its own addresses when it is
      const isEarly = missing.every(({ group }) => group === clusterGroup) && missing.length > 0 && !(await hasNode())
      if (missing.length > 0 && !isEarly) throw notByUs(missing, false)
      return routes.map(route => ({ route, outcome: missing.includes(route) ? 'pending' : 'unchanged' }))
    },
    async remove(routes) {
      if (routes.length === 0) return []
      const held = (await installed()).filter(route => routes.some(other => sameListen(route, other)))
      if (held.length > 0) throw notByUs(held, true)
      return routes.map(route => ({ route, outcome: 'unchanged' }))
    },
  }
}

/** The error for routes that only whoever creates the containers can make or remove. */
function notByUs(routes: readonly Route[], areThere: boolean): PlatformError {
  const ofCluster = routes.every(({ group }) => group === clusterGroup)
  const addresses = routes.map(({ listen }) => addressText(listen)).join(', ')
  const who = ofCluster ? "The cluster's node" : 'Docker Compose'
  const task = ofCluster ? 'task setup-cluster' : 'task start-infrastructure'
  return areThere
    ? new PlatformError(`${who} still publishes ${addresses}`, {
        why: 'The containers were created with ROUTING=publish and hold these addresses until they are recreated',
        hint: ofCluster ? `${task} -- --recreate` : task,
      })
    : new PlatformError(`${who} does not publish ${addresses}`, {
        why: 'With ROUTING=publish the containers themselves hold the addresses, from their creation on',
        hint: task,
      })
}

/** Reads lines of `name<tab>ports`: what containers of the platform publish beyond their own catalogue entry, and its cluster's ways in. */
export function routesOfContainers(text: string, platform: Platform): Route[] {
  const { services, routes } = platform
  return text.split('\n').flatMap(line => {
    const [container = '', ports = ''] = line.split('\t')
    if (nodeNames(platform).includes(container)) {
      const published = publishedTcp(ports)
      return clusterRoutes(platform).filter(({ listen }) =>
        published.some(({ ip, port }) => ip === listen.ip && port === listen.port),
      )
    }
    const service = services.find(service => service.container === container)
    if (service === undefined) return []
    return publishedTcp(ports).flatMap(({ ip, port, target }) => {
      if (service.published.some(own => own.ip === ip && own.hostPort === port)) return []
      // a page on port 80 belongs to the service whose address it is, though the web server holds it
      const known = routes.find(route => route.listen.ip === ip && route.listen.port === port)
      return [
        {
          group: known?.group ?? service.group,
          service: known?.service ?? service.name,
          listen: { ip, port },
          target: { ip: service.address, port: target },
        },
      ]
    })
  })
}

// Docker writes neighbouring ports as a range: 127.0.0.6:4317-4318->4317-4318/tcp
function publishedTcp(ports: string): { ip: string; port: number; target: number }[] {
  return [...ports.matchAll(/([\d.]+):(\d+)(?:-(\d+))?->(\d+)(?:-\d+)?\/tcp/g)].flatMap(
    ([, ip = '', first, last = first, target]) =>
      Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) => ({
        ip,
        port: Number(first) + index,
        target: Number(target) + index,
      })),
  )
}
