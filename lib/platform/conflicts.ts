import type { Problem } from '../system/errors.ts'
import { ingressListeners } from './addresses.ts'
import type { MergedService } from './merge.ts'
import type { Service } from './services.ts'
import type { Settings } from './settings.ts'

/** Something only one service can have, and the path in the description that claims it. */
interface Claim {
  what: string
  service: string
  path: string[]
}

/** Problems that no single block shows: two services that claim the same name, address or port. */
export function conflicts(
  services: readonly Service[],
  described: ReadonlyMap<string, MergedService>,
  applications: { loopback: string; names: readonly string[] },
  settings: Settings,
  webServer: string,
): Problem[] {
  const owners = new Map<string, string>(applications.names.map(name => [name, 'an application']))
  const taken = (ip: string, port: number, protocol: string) => `${ip}:${port}/${protocol}`
  for (const { ip, port, protocol } of ingressListeners(settings, applications.loopback))
    owners.set(taken(ip, port, protocol), "the cluster's ingress")
  for (const protocol of ['tcp', 'udp']) owners.set(taken(settings.MACULA_LOOPBACK, 53, protocol), 'the DNS server')
  const applicationNames = new Set(applications.names)
  const claims = services.flatMap(service => [
    ...claimsOf(service, applicationNames),
    ...(service.loopback === settings.MACULA_LOOPBACK ? [] : routeClaims(service, webServer)),
  ])
  return claims.flatMap(({ what, service, path }) => {
    const owner = owners.get(what)
    owners.set(what, owner ?? service)
    // all pages on one address share its port 80, which is the web server's
    if (owner === undefined || (owner === service && service === webServer)) return []
    return [
      {
        where: described.get(path[0] ?? service)?.locate(...path.slice(1)) ?? service,
        what: `services.${path[0]} claims ${what}, which ${owner} has already`,
      },
    ]
  })
}

function claimsOf(service: Service, applicationNames: ReadonlySet<string>): Claim[] {
  const { name, hosts, names, address, published } = service
  const claim = (what: string, ...path: string[]) => ({ what, service: name, path: [name, ...path] })
  return [
    ...hosts.map(host => claim(`http://${host.name}${host.path}`, 'x-macula', 'host')),
    ...names.filter(each => applicationNames.has(each)).map(each => claim(each, 'x-macula', 'host')),
    ...(address ? [claim(`address ${address}`)] : []),
    ...published.map(({ ip, hostPort, protocol }) => claim(`${ip}:${hostPort}/${protocol}`, 'ports')),
  ]
}

/** What a service's own loopback address listens on: its routed ports, and port 80 for its pages. */
function routeClaims({ name, loopback, ports, hosts }: Service, webServer: string): Claim[] {
  const routed = ports.map(({ listen }) => ({
    what: `${loopback}:${listen}/tcp`,
    service: name,
    path: [name, 'x-macula', 'ports'],
  }))
  if (hosts.length === 0 || ports.some(({ listen }) => listen === 80)) return routed
  return [...routed, { what: `${loopback}:80/tcp`, service: webServer, path: [name, 'x-macula', 'loopback'] }]
}
