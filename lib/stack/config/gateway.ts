import { createHash } from 'node:crypto'
import { networkName } from '../../platform/addresses.ts'
import { type Platform, type Service, type VirtualHost, webServer } from '../../platform/platform.ts'
import { fillTemplate, type RenderedFile, readTemplate } from '../../platform/render.ts'

/** Configuration of the web server in front of everything: who is answered, one virtual host per name, one port per documented HTTP port, and the portal. */
export async function gatewayFiles(platform: Platform, portalPage: string): Promise<RenderedFile[]> {
  const verbatim = ['nginx.conf', 'headers.conf', 'server.conf', 'pages.conf', 'proxy.conf', 'metrics.txt']
  return [
    ...(await Promise.all(
      verbatim.map(async file => ({ path: `config/nginx/${file}`, content: await readTemplate(`nginx/${file}`) })),
    )),
    { path: 'config/nginx/guard.conf', content: await guard(platform) },
    { path: 'config/nginx/health.sh', content: await tcpProbes(platform) },
    // all in one file: a service that is gone leaves nothing behind
    {
      path: 'config/nginx/vhosts.conf',
      content: [
        ...(await upstreams(platform)),
        ...(await portals(platform, portalPage)),
        ...(await virtualHosts(platform)),
        ...(await ports(platform)),
      ].join('\n'),
    },
  ]
}

/** Where the portal finds the state of a service; undefined for one without a health check. */
export function servicePath({ name, health }: Service): string | undefined {
  return health === undefined ? undefined : `/health/${name}`
}

/** Where the portal finds the state of an application, by its full name; undefined for a cluster that the containers do not reach. */
export function applicationPath({ settings }: Platform, name: string): string | undefined {
  return settings.CLUSTER === 'kind' ? `/health/applications/${name.split('.')[0]}` : undefined
}

/** Names that show the portal, first the one to link to. */
export function portalNames(platform: Platform): string[] {
  return platform.services.find(({ name }) => name === webServer)?.names ?? []
}

/** Which hosts and which web pages are answered. */
async function guard(platform: Platform): Promise<string> {
  const { domain, services, settings } = platform
  const network = networkName(settings)
  const names = services.flatMap(({ name, container }) => [name, container])
  const hosts = [...new Set(names)].flatMap(name => [name, `${name}.${network}`])
  return fill('guard', {
    domain,
    domainPattern: pattern(domain),
    subnetPattern: `${pattern(settings.MACULA_SUBNET.split('.').slice(0, 2).join('.'))}\\.\\d+\\.\\d+`,
    containerNames: hosts.map(host => `  ${host} 0;`).join('\n'),
  })
}

async function portals(platform: Platform, page: string): Promise<string[]> {
  const checks = await Promise.all([
    ...platform.services.filter(({ name }) => name !== webServer).map(service => serviceHealth(service)),
    ...platform.applications.names
      .filter(name => applicationPath(platform, name) !== undefined)
      .map(name => fill('application-health', { application: name.split('.')[0] ?? name, host: name })),
    ...platform.services
      .filter(({ name }) => name === 'prometheus')
      .map(({ name, hosts }) => fill('alerts', { service: name, port: String(hosts[0]?.port ?? 9090) })),
  ])
  const hashes = { scriptHash: inlineHash(page, 'script'), styleHash: inlineHash(page, 'style') }
  return Promise.all(portalNames(platform).map(name => fill('portal', { name, health: checks.join(''), ...hashes })))
}

async function serviceHealth({ name: service, health }: Service): Promise<string> {
  if (health === undefined) return ''
  const { port, path } = health
  return path === undefined ? fill('tcp-health', { service }) : fill('health', { service, port: String(port), path })
}

async function tcpProbes({ services }: Platform): Promise<string> {
  const probes = services.flatMap(({ name, address, health }) =>
    health === undefined || health.path !== undefined ? [] : [`probe ${name} ${address} ${health.port} &\n`],
  )
  return fillTemplate(await readTemplate('nginx/health.sh'), { probes: probes.join('') }, 'nginx/health.sh')
}

async function virtualHosts(platform: Platform): Promise<string[]> {
  const hosts = new Map<string, (VirtualHost & { service: Service })[]>()
  for (const service of platform.services) {
    if (service.name === webServer) continue
    for (const host of service.hosts) hosts.set(host.name, [...(hosts.get(host.name) ?? []), { ...host, service }])
  }
  return Promise.all(
    [...hosts].map(async ([name, pages]) => {
      const locations = await Promise.all(
        pages.map(({ service, path, port }) => fill('location', { service: service.name, path, port: String(port) })),
      )
      return fill('vhost', { name, service: pages[0]?.service.name ?? '', locations: locations.join('').trimEnd() })
    }),
  )
}

async function ports({ services }: Platform): Promise<string[]> {
  const servers = services.flatMap(({ name: service, loopback, ports }) =>
    ports.flatMap(({ listen, target, gateway }) =>
      gateway === undefined
        ? []
        : [{ service, loopback, listen: String(listen), target: String(target), gateway: String(gateway) }],
    ),
  )
  return Promise.all(servers.map(values => fill('port', values)))
}

/** Everything that a request can be forwarded to: each HTTP port of a service. */
async function upstreams({ services }: Platform): Promise<string[]> {
  const targets = services.flatMap(({ name: service, address, httpPorts }) =>
    httpPorts.map(port => ({ service, address, port: String(port) })),
  )
  return Promise.all(targets.map(values => fill('upstream', values)))
}

/** What a Content-Security-Policy calls the one `<script>` or `<style>` of a page. */
function inlineHash(page: string, element: 'script' | 'style'): string {
  const text = new RegExp(`<${element}>(.*?)</${element}>`, 's').exec(page)?.[1] ?? ''
  return `sha256-${createHash('sha256').update(text).digest('base64')}`
}

async function fill(name: string, values: Record<string, string>): Promise<string> {
  return fillTemplate(await readTemplate(`nginx/${name}.conf`), values, `nginx/${name}.conf`)
}

function pattern(text: string): string {
  return text.replaceAll('.', '\\.')
}
