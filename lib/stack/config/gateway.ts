import { type Platform, type Service, type VirtualHost, webServer } from '../../platform/platform.ts'
import { fillTemplate, type RenderedFile, readTemplate } from '../../platform/render.ts'

/** Configuration of the web server in front of everything: one virtual host per name, and the portal's own. */
export async function gatewayFiles(platform: Platform): Promise<RenderedFile[]> {
  const [vhost, location, portal, health] = await Promise.all(
    ['vhost', 'location', 'portal', 'health'].map(name => readTemplate(`nginx/${name}.conf`)),
  )
  const fill = (name: string, template: string | undefined, values: Record<string, string>) =>
    fillTemplate(template ?? '', values, `nginx/${name}.conf`)

  const checks = probedServices(platform).map(({ name, address, health: probe }) =>
    fill('health', health, { service: name, address, port: String(probe.port), path: probe.path }),
  )
  const portals = portalNames(platform).map(name => fill('portal', portal, { name, health: checks.join('') }))
  const vhosts = [...hostsByName(platform)].map(([name, hosts]) => {
    const locations = hosts.map(({ service, path, port }) =>
      fill('location', location, { service: service.name, address: service.address, path, port: String(port) }),
    )
    return fill('vhost', vhost, { name, locations: locations.join('').trimEnd() })
  })
  return [
    ...(await Promise.all(
      ['nginx.conf', 'pages.conf', 'proxy.conf'].map(async file => ({
        path: `config/nginx/${file}`,
        content: await readTemplate(`nginx/${file}`),
      })),
    )),
    // all in one file: a service that is gone leaves nothing behind
    { path: 'config/nginx/vhosts.conf', content: [...portals, ...vhosts].join('\n') },
  ]
}

/** Services whose health is an HTTP path, other than the web server itself: the portal shows these as answering or not. */
export function probedServices(platform: Platform): (Service & { health: { port: number; path: string } })[] {
  return platform.services.flatMap(service =>
    service.health?.path === undefined || service.name === webServer
      ? []
      : [{ ...service, health: { port: service.health.port, path: service.health.path } }],
  )
}

/** Names that show the portal, first the one to link to. */
export function portalNames(platform: Platform): string[] {
  return platform.services.find(({ name }) => name === webServer)?.names ?? []
}

function hostsByName(platform: Platform): Map<string, (VirtualHost & { service: Service })[]> {
  const hosts = new Map<string, (VirtualHost & { service: Service })[]>()
  for (const service of platform.services) {
    if (service.name === webServer) continue
    for (const host of service.hosts) hosts.set(host.name, [...(hosts.get(host.name) ?? []), { ...host, service }])
  }
  return hosts
}
