import type { Address } from '../system/address.ts'
import { badInput, type Problem } from '../system/errors.ts'
import { type Addition, additionsFor, addressShift, withAddresses } from './addresses.ts'
import { type ApplicationsBlock, blockProblems } from './catalogue.ts'
import { type ComposeFile, type ComposeSource, type ReadCompose, readComposeFile } from './compose-file.ts'
import { conflicts } from './conflicts.ts'
import type { Lookup } from './interpolate.ts'
import { type MergedService, mergedServices } from './merge.ts'
import { describeService, type Service, withGatewayPorts } from './services.ts'
import { defaultSettings, isSecret, loadSettings, type Paths, type Settings } from './settings.ts'
import { composeSources } from './sources.ts'

export type { Published } from './published.ts'
export type { RoutedPort, Service, VirtualHost } from './services.ts'

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
  /** What Compose is given: our own file, complete, and what we add to the services of all files. */
  compose: {
    ours: ComposeFile
    additions: ReadonlyMap<string, Addition>
    /** Whether there is a file of the user's own between the two. */
    hasLocalFile: boolean
    /** Variables that the user's files take from the environment, with the values they had for us. */
    variables: Readonly<Record<string, string>>
  }
  /** Every service of the files, those behind profiles and of other groups included. */
  described: ReadonlyMap<string, MergedService>
  /** The compose files, first ours, then those of the user, with the services of `groups` only. */
  composeFiles: ReadCompose[]
}

/** The service that serves every virtual host. */
export const webServer = 'nginx'

// each step of a setup loads the same description, which takes some 50 ms of the processor
let built: ({ given: string } & ReturnType<typeof buildPlatform>) | undefined

/** Loads settings and compose files. Throws one error (exit code 2) with all problems of either. */
export async function loadPlatform(paths: Paths, environment: NodeJS.ProcessEnv): Promise<Platform> {
  const settings = await loadSettings(paths, environment)
  const { sources, problems: unreadable } = await composeSources(paths, variablesFrom(settings, environment))
  const given = JSON.stringify([sources, settings, paths, environment])
  if (built?.given !== given)
    built = { given, ...buildPlatform(sources, settings, await defaultSettings(), paths, environment) }
  const { platform, problems } = built
  if (unreadable.length + problems.length > 0)
    throw badInput(
      'The description of the services is not usable',
      [...unreadable, ...problems],
      'Correct these lines; nothing has been changed',
    )
  return platform
}

/** Throws (exit code 2) where a group of `groups` is none of the compose files; `where` is how the user named them. Needs no settings. */
export async function requireGroups(paths: Paths, groups: readonly string[], where: string): Promise<void> {
  const { sources } = await composeSources(paths, () => undefined)
  const files = sources.flatMap(source => readComposeFile(source, () => undefined).files)
  const problems = unknownGroups(groups, groupsOf(mergedServices(files)), where)
  if (problems.length > 0) throw badInput('Unknown group of services', problems, 'Correct it; nothing has been changed')
}

/** The images that the compose files name, without any settings: before there is a settings file, too. */
export async function composeImages(paths: Paths): Promise<string[]> {
  const { sources } = await composeSources(paths, () => undefined)
  const files = sources.flatMap(source => readComposeFile(source, () => undefined).files)
  const images = [...mergedServices(files).values()].map(({ image }) => image)
  return [...new Set(images.filter(image => image !== undefined))]
}

/** Variables of compose files as Compose sees them: the environment over the settings, of which it is given all but the secrets. */
function variablesFrom(settings: Settings, environment: NodeJS.ProcessEnv): Lookup {
  return name => (isSecret(name) ? undefined : (environment[name] ?? (settings as Record<string, string>)[name]))
}

/** The pure half of loadPlatform: what the sources describe, ours first, and everything that is wrong with them. */
export function buildPlatform(
  sources: readonly ComposeSource[],
  settings: Settings,
  defaults: Settings,
  paths: Paths,
  environment: NodeJS.ProcessEnv = {},
): { platform: Platform; problems: Problem[] } {
  const problems: Problem[] = []
  const shift = addressShift(settings, defaults)
  const [first, ...others] = readFiles(sources, settings, environment, problems)
  const ours = first && { ...first, content: withAddresses(first.content, shift) }
  const files = ours === undefined ? [] : [ours, ...others]
  const own = others.filter(({ role }) => role === 'own')
  const described = mergedServices(files)
  const additions = additionsFor(described, shift, settings, problems)

  const groups = groupsOf(described)
  const chosen = paths.onlyGroups
  if (chosen) problems.push(...unknownGroups(chosen, groups, 'MACULA_ONLY'))
  const isChosen = (name: string) =>
    chosen === undefined || ['infrastructure', ...chosen].includes(groups.get(name) ?? 'other')
  const services = [...described].flatMap(([name, merged]) => {
    const service = describeService(name, merged, additions.get(name) ?? {}, settings, problems, shift)
    // services behind a Compose profile are not started with the others, so they are no part of the platform
    return isChosen(name) && merged.profiles.length === 0 ? [service] : []
  })
  const withPorts = withGatewayPorts(services, settings.MACULA_LOOPBACK, webServer)
  const applications = applicationsOf(files, settings, shift.loopback)
  problems.push(...conflicts(withPorts, described, applications, settings, webServer))
  const used = new Set(own.flatMap(({ variables }) => variables.map(({ name }) => name)))
  const platform: Platform = {
    settings,
    paths,
    domain: settings.MACULA_DOMAIN,
    loopback: settings.MACULA_LOOPBACK,
    services: withPorts,
    applications,
    names: namesOf(withPorts, applications),
    wildcard: applications.loopback,
    routes: routesOf(withPorts, settings.MACULA_LOOPBACK),
    groups: [...new Set(withPorts.map(({ group }) => group))],
    compose: {
      ours: ours?.content ?? {},
      additions,
      hasLocalFile: own.length > 0,
      variables: Object.fromEntries(
        Object.entries(environment).filter(
          (entry): entry is [string, string] => used.has(entry[0]) && entry[1] !== undefined,
        ),
      ),
    },
    described,
    composeFiles: files.filter(({ role }) => role === 'own').map(file => onlyServices(file, isChosen)),
  }
  return { platform, problems }
}

/** Reads all sources; ours takes its variables from the settings alone, and a secret is a variable of none. */
function readFiles(
  sources: readonly ComposeSource[],
  settings: Settings,
  environment: NodeJS.ProcessEnv,
  problems: Problem[],
): ReadCompose[] {
  return sources.flatMap((source, index) => {
    const { files, problems: found } = readComposeFile(source, variablesFrom(settings, index === 0 ? {} : environment))
    problems.push(...found, ...files.flatMap(file => [...blockProblems(file), ...secretProblems(file)]))
    return files
  })
}

/** `docker inspect` shows variables to every member of the docker group, so a secret must not be passed as one. */
function secretProblems({ variables }: ReadCompose): Problem[] {
  return variables
    .filter(({ name }) => isSecret(name))
    .map(({ name, where }) => ({
      where,
      what: `\${${name}} is a secret, and not passed to services as a variable; mount it as a file: secrets: [${secretFile(name)}], read from /run/secrets/${secretFile(name)}`,
    }))
}

/** What the Compose secret of a setting is called. */
function secretFile(name: string): string {
  return name.toLowerCase().replace(/^pdns_/, 'powerdns_')
}

function onlyServices(file: ReadCompose, isChosen: (name: string) => boolean): ReadCompose {
  const { services } = file.content
  if (services === undefined) return file
  const kept = Object.entries(services).filter(([name]) => isChosen(name))
  return {
    ...file,
    content: { ...file.content, services: Object.assign(Object.create(null), Object.fromEntries(kept)) },
  }
}

function applicationsOf(
  files: readonly ReadCompose[],
  settings: Settings,
  moved: (address: string) => string,
): Platform['applications'] {
  const blocks = files.map(({ content }) => ((content['x-macula'] ?? {}) as ApplicationsBlock).applications)
  const hosts = new Set(blocks.flatMap(block => block?.hosts ?? []))
  return {
    loopback: moved(blocks[0]?.loopback ?? '127.0.0.2'),
    names: [...hosts].map(host => `${host}.${settings.MACULA_DOMAIN}`),
  }
}

function namesOf(services: readonly Service[], { loopback, names }: Platform['applications']): Name[] {
  const all = [
    ...services.flatMap(service => service.names.map(name => ({ name, ip: service.loopback }))),
    ...names.map(name => ({ name, ip: loopback })),
  ]
  return [...new Map(all.map(name => [name.name, name])).values()]
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

function groupsOf(services: ReadonlyMap<string, MergedService>): Map<string, string> {
  return new Map(
    [...services].flatMap(([name, { block }]) =>
      typeof block.group === 'string' ? [[name, block.group] as const] : [],
    ),
  )
}

function unknownGroups(groups: readonly string[], groupOf: ReadonlyMap<string, string>, where: string): Problem[] {
  const known = [...new Set(groupOf.values())]
  return groups
    .filter(group => !known.includes(group))
    .map(group => ({ where, what: `there is no group ${group}; known: ${known.join(', ')}` }))
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
