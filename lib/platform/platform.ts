import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Address } from '../system/address.ts'
import { root } from '../system/checkout.ts'
import { badInput, type Problem } from '../system/errors.ts'
import { addressShift, settleAddresses } from './addresses.ts'
import { type ApplicationsBlock, type ComposeSource, type ReadCompose, readCompose } from './catalogue.ts'
import { describeService, type Service, withGatewayPorts } from './services.ts'
import { defaultSettings, loadSettings, type Paths, type Settings, secretNames } from './settings.ts'

export type { Published, RoutedPort, Service, VirtualHost } from './services.ts'

/** A DNS name of the platform and the loopback address it answers with. */
export interface Name {
  name: string
  ip: string
}

/** TCP from a loopback address to the container of the service, by way of the web server's where it is HTTP. */
export interface Route {
  group: string
  service: string
  listen: Address
  target: Address
}

/** Everything the platform consists of, checked; every rendered file, route, name and probe derives from it. */
export interface Platform {
  settings: Settings
  paths: Paths
  domain: string
  /** Loopback address that the first group and the registry use. */
  loopback: string
  services: Service[]
  applications: { loopback: string; names: string[] }
  names: Name[]
  /** Address of every name of the domain that is not in `names`. */
  wildcard: string
  routes: Route[]
  groups: string[]
  /** The compose files, first ours, then the user's own if there is one; settings and addresses filled in. */
  composeFiles: ReadCompose[]
}

/** The service that serves every virtual host. */
export const webServer = 'nginx'

/** Loads settings and compose files. Throws one error (exit code 2) with all problems of either. */
export async function loadPlatform(paths: Paths, environment?: NodeJS.ProcessEnv): Promise<Platform> {
  const settings = await loadSettings(paths, environment)
  const sources = await composeSources(paths)
  const { platform, problems } = buildPlatform(sources, settings, await defaultSettings(), paths)
  if (problems.length > 0)
    throw badInput(
      'The description of the services is not usable',
      problems,
      'Correct these lines; nothing has been changed',
    )
  return platform
}

/** Throws (exit code 2) where a group of `groups` is none of the compose files; `where` is how the user named them. Needs no settings. */
export async function requireGroups(paths: Paths, groups: readonly string[], where: string): Promise<void> {
  const files = (await composeSources(paths)).map(source => readCompose(source, {}).compose)
  const problems = unknownGroups(groups, groupsByService(files), where)
  if (problems.length > 0)
    throw badInput('There is no such group of services', problems, 'Correct it; nothing has been changed')
}

/** Ours, then the user's own if there is one. */
async function composeSources(paths: Paths): Promise<ComposeSource[]> {
  const ours = await readFile(join(root, 'templates', 'docker-compose.yml'), 'utf8')
  const sources = [{ file: 'templates/docker-compose.yml', text: ours }]
  const local = await readFile(paths.localComposeFile, 'utf8').catch(error => {
    if (error.code === 'ENOENT') return undefined
    throw badInput(`${paths.localComposeFile} cannot be read`, [{ where: paths.localComposeFile, what: error.message }])
  })
  if (local !== undefined) sources.push({ file: basename(paths.localComposeFile), text: local })
  return sources
}

/** The pure half of loadPlatform: what the sources describe, and everything that is wrong with them. */
export function buildPlatform(
  sources: readonly { file: string; text: string }[],
  settings: Settings,
  defaults: Settings,
  paths: Paths,
): { platform: Platform; problems: Problem[] } {
  const variables: Record<string, string> = { ...settings }
  for (const name of secretNames) delete variables[name]
  const read = sources.map(source => readCompose(source, variables))
  const problems = read.flatMap(({ problems }) => problems)
  const composeFiles = read.map(({ compose }) => compose)
  if (paths.onlyGroups) problems.push(...keepGroups(composeFiles, paths.onlyGroups))
  const shift = addressShift(settings, defaults)
  for (const compose of composeFiles) settleAddresses(compose, shift, settings, composeFiles)

  const described = serviceNames(composeFiles).map(name =>
    describeService(name, composeFiles, settings, problems, shift),
  )
  const services = withGatewayPorts(described, settings.MACULA_LOOPBACK, webServer)
  const block = (composeFiles[0]?.content['x-macula'] ?? {}) as ApplicationsBlock
  const own = composeFiles
    .slice(1)
    .map(({ content }) => ((content['x-macula'] ?? {}) as ApplicationsBlock).applications)
  const hosts = [block.applications, ...own].flatMap(applications => applications?.hosts ?? [])
  const wildcard = shift.loopback(block.applications?.loopback ?? '127.0.0.2')
  const applications = {
    loopback: wildcard,
    names: [...new Set(hosts)].map(host => `${host}.${settings.MACULA_DOMAIN}`),
  }
  const platform: Platform = {
    settings,
    paths,
    domain: settings.MACULA_DOMAIN,
    loopback: settings.MACULA_LOOPBACK,
    services,
    applications,
    names: [
      ...new Map(
        [
          ...services.flatMap(service => service.names.map(name => ({ name, ip: service.loopback }))),
          ...applications.names.map(name => ({ name, ip: wildcard })),
        ].map(name => [name.name, name]),
      ).values(),
    ],
    wildcard,
    routes: routesOf(services, settings.MACULA_LOOPBACK),
    groups: [...new Set(services.map(({ group }) => group))],
    composeFiles,
  }
  return { platform, problems: [...problems, ...conflicts(platform)] }
}

/** Where a person finds a service: its page, or its address where it has none. */
export function urlOf(service: Service): string {
  const [page] = service.hosts
  if (page) return `http://${page.name}${page.path === '/' ? '' : page.path}`
  const [name] = service.names
  const [port] = service.ports
  if (name === undefined || port === undefined) return ''
  return port.target === 5432 ? `postgres://${name}:${port.listen}` : `${name}:${port.listen}`
}

/** The service of that name. Throws where the catalogue has none, which is a defect of the caller or of the template. */
export function serviceNamed(platform: Platform, name: string): Service {
  const service = platform.services.find(service => service.name === name)
  if (service === undefined)
    throw badInput(`There is no service ${name}`, [
      { where: 'services', what: platform.services.map(({ name }) => name).join(', ') },
    ])
  return service
}

/** Takes away the services of all other groups; infrastructure stays, because the others are reached through it. */
function keepGroups(files: readonly ReadCompose[], groups: readonly string[]): Problem[] {
  const groupOf = groupsByService(files)
  for (const { content } of files) {
    const kept = Object.entries(content.services ?? {}).filter(([name]) =>
      ['infrastructure', ...groups].includes(groupOf.get(name) ?? 'other'),
    )
    content.services = Object.fromEntries(kept)
  }
  return unknownGroups(groups, groupOf, 'MACULA_ONLY')
}

function groupsByService(files: readonly ReadCompose[]): Map<string, string> {
  const described = files.flatMap(({ content }) => Object.entries(content.services ?? {}))
  return new Map(
    described.flatMap(([name, service]) => {
      const { group } = (service['x-macula'] ?? {}) as { group?: string }
      return group === undefined ? [] : [[name, group] as const]
    }),
  )
}

function unknownGroups(groups: readonly string[], groupOf: ReadonlyMap<string, string>, where: string): Problem[] {
  const known = [...new Set(groupOf.values())]
  return groups
    .filter(group => !known.includes(group))
    .map(group => ({ where, what: `there is no group ${group}; known: ${known.join(', ')}` }))
}

/** Services behind a Compose profile are not started with the others, so they are no part of the platform. */
function serviceNames(files: readonly ReadCompose[]): string[] {
  const described = files.flatMap(({ content }) => Object.entries(content.services ?? {}))
  const optional = new Set(described.filter(([, service]) => service.profiles !== undefined).map(([name]) => name))
  return [...new Set(described.map(([name]) => name))].filter(name => !optional.has(name))
}

function routesOf(services: readonly Service[], firstLoopback: string): Route[] {
  const web = services.find(({ name }) => name === webServer)
  const routes = new Map<string, Route>()
  for (const service of services) {
    if (service.loopback === firstLoopback) continue
    const { group, name, loopback: ip } = service
    for (const { listen, target, gateway } of service.ports) {
      routes.set(`${ip}:${listen}`, {
        group,
        service: name,
        listen: { ip, port: listen },
        target:
          web && gateway !== undefined ? { ip: web.address, port: gateway } : { ip: service.address, port: target },
      })
    }
    if (web && service.hosts.length > 0 && !routes.has(`${ip}:80`))
      routes.set(`${ip}:80`, { group, service: name, listen: { ip, port: 80 }, target: { ip: web.address, port: 80 } })
  }
  return [...routes.values()]
}

/** What no single block shows: two services that want the same name, address or port. */
function conflicts(platform: Platform): Problem[] {
  const paths = platform.services.map(({ name }) => {
    const file = platform.composeFiles.findLast(({ content }) => content.services?.[name] !== undefined)
    return [
      name,
      (key: string) => file?.locate(['services', name, ...(key === '' ? [] : ['x-macula', key])]) ?? name,
    ] as const
  })
  const locate = new Map(paths)
  const claims = platform.services.flatMap(service => [
    ...service.hosts.map(host => ({ what: `http://${host.name}${host.path}`, key: 'host', service: service.name })),
    ...service.names
      .filter(name => platform.applications.names.includes(name))
      .map(name => ({ what: name, key: 'host', service: service.name })),
    ...(service.address ? [{ what: `address ${service.address}`, key: '', service: service.name }] : []),
    ...service.published.map(({ ip, hostPort, protocol }) => ({
      what: `${ip}:${hostPort}/${protocol}`,
      key: '',
      service: service.name,
    })),
    ...(service.loopback === platform.loopback
      ? []
      : service.ports.map(({ listen }) => ({
          what: `${service.loopback}:${listen}/tcp`,
          key: 'ports',
          service: service.name,
        }))),
  ])
  const owners = new Map<string, string>(platform.applications.names.map(name => [name, 'an application']))
  return claims.flatMap(({ what, key, service }) => {
    const owner = owners.get(what)
    owners.set(what, owner ?? service)
    return owner === undefined
      ? []
      : [
          {
            where: locate.get(service)?.(key) ?? service,
            what: `services.${service} claims ${what}, which ${owner} has already`,
          },
        ]
  })
}
