import { dirname, join, relative, resolve } from 'node:path'
import { stringify } from 'yaml'
import type { ComposeFile, ComposeService } from '../platform/compose-file.ts'
import { type Installation, installationLabel } from '../platform/installation.ts'
import { withoutVariables } from '../platform/interpolate.ts'
import type { MergedService } from '../platform/merge.ts'
import type { Platform } from '../platform/platform.ts'
import { hashOf, type RenderedFile } from '../platform/render.ts'
import { isSecret } from '../platform/settings.ts'
import { namesIn } from './ownership.ts'

/** The rendered files that Compose reads beside the user's own, relative to the state folder. */
export const composeFileNames = {
  project: 'docker-compose.yml',
  services: 'docker-compose.services.yml',
  additions: 'docker-compose.additions.yml',
  settings: 'docker-compose.env',
} as const

/**
 * What Compose runs: a project file that includes our services, the user's own file as it stands and the additions, merged in this order, with
 * the paths of the user's file relative to its own folder; our services, with settings, addresses and absolute paths filled in; what we add to the
 * services of both: addresses, logging, `extraPorts`, the names in the engine of `images` from files, the label of the installation, and one with the hash of the configurations and secrets that
 * a service mounts, so that Compose recreates a container whose configuration changed, and no other; and the settings as variables, without
 * the secrets. `docker compose` in the state folder needs no flags.
 */
export function renderComposeFiles(
  platform: Platform,
  configs: readonly RenderedFile[],
  installation: Installation,
  extraPorts: Readonly<Record<string, readonly string[]>> = {},
  images: ReadonlyMap<string, string> = new Map(),
): RenderedFile[] {
  const { compose, paths } = platform
  const { project, services, additions, settings } = composeFileNames
  const source = 'Rendered from templates/docker-compose.yml; changes belong there.'
  return [
    rendered(project, source, projectFile(platform)),
    rendered(services, source, withAbsolutePaths(compose.ours, paths.stateDir)),
    rendered(
      additions,
      'Rendered: what the platform adds to the services of templates/docker-compose.yml and docker-compose.local.yml.',
      additionsFile(platform, configs, installation, extraPorts, images),
    ),
    { path: settings, content: settingsFile(platform), mode: 0o600 },
  ]
}

function projectFile({ compose, paths, settings }: Platform): ComposeFile {
  const { services, additions, settings: variables } = composeFileNames
  return {
    name: settings.MACULA_PROJECT,
    include: [
      {
        path: [services, ...(compose.hasLocalFile ? [paths.localComposeFile] : []), additions],
        project_directory: dirname(paths.localComposeFile),
        env_file: variables,
      },
    ],
  }
}

function rendered(path: string, head: string, content: ComposeFile): RenderedFile {
  return { path, content: `# ${head}\n${stringify(literal(content), { lineWidth: 0 })}`, mode: 0o600 }
}

/** The same value with every text escaped for Compose. Shared objects stay shared, so that the file keeps its anchors. */
function literal(value: unknown, seen = new Map<object, unknown>()): unknown {
  if (typeof value === 'string') return withoutVariables(value)
  if (typeof value !== 'object' || value === null) return value
  const known = seen.get(value)
  if (known !== undefined) return known
  const copy: unknown = Array.isArray(value)
    ? value.map(item => literal(item, seen))
    : Object.fromEntries(Object.entries(value).map(([key, item]) => [key, literal(item, seen)]))
  seen.set(value, copy)
  return copy
}

/** Our file's relative paths are those of the state folder. Its volumes are written out, because a path may have a colon. */
function withAbsolutePaths(ours: ComposeFile, stateDir: string): ComposeFile {
  const absolute = (path: string) => join(stateDir, path)
  const volume = (volume: string | { source?: string }) => {
    const [source = '', target, mode] = typeof volume === 'string' ? volume.split(':') : []
    if (!source.startsWith('./')) return volume
    return {
      type: 'bind',
      source: absolute(source),
      target,
      ...(mode === 'ro' ? { read_only: true } : {}),
      bind: { create_host_path: false },
    }
  }
  const services = Object.entries(ours.services ?? {}).map(([name, service]) => [
    name,
    { ...service, ...(service.volumes ? { volumes: service.volumes.map(volume) } : {}) },
  ])
  const secrets = Object.entries(ours.secrets ?? {}).map(([name, { file = '' }]) => [name, { file: absolute(file) }])
  return { ...ours, services: Object.fromEntries(services), secrets: Object.fromEntries(secrets) }
}

function additionsFile(
  platform: Platform,
  configs: readonly RenderedFile[],
  installation: Installation,
  extraPorts: Readonly<Record<string, readonly string[]>>,
  images: ReadonlyMap<string, string>,
): ComposeFile {
  const { ours, additions } = platform.compose
  // with these options the collector reads a service's lines; a user's service gets them unless it says something else
  const logging = (ours['x-service'] as ComposeService | undefined)?.logging
  const sourceOf = mountedSources(platform)
  const services = [...platform.described].map(([name, merged]): [string, ComposeService] => {
    const hash = hashOfMounted(sourceOf(merged), configs)
    return [
      name,
      {
        ...additions.get(name),
        ...(images.has(name) ? { image: images.get(name) as string } : {}),
        ...(logging === undefined || merged.hasLogging ? {} : { logging }),
        ...(Object.hasOwn(extraPorts, name) ? { ports: [...(extraPorts[name] ?? [])] } : {}),
        labels: { [installationLabel]: installation.id, ...(hash === undefined ? {} : { 'macula.config': hash }) },
      },
    ]
  })
  return {
    services: Object.fromEntries(services),
    networks: labelled(platform, 'networks', namesIn(installation, 'network'), installation.id),
    volumes: labelled(platform, 'volumes', namesIn(installation, 'volume'), installation.id),
  }
}

/** Our label for what Compose creates, less what is somebody else's and what was taken over without one: Compose recreates what is labelled differently. */
function labelled(
  { composeFiles, settings }: Platform,
  section: 'networks' | 'volumes',
  adopted: ReadonlySet<string>,
  id: string,
): Record<string, { labels: Record<string, string> }> {
  const found = composeFiles.flatMap(({ content }) =>
    Object.entries((content[section] ?? {}) as Record<string, Resource | null>),
  )
  const isForeign = ([key, resource]: [string, Resource | null]) =>
    Boolean(resource?.external) || adopted.has(resource?.name ?? `${settings.MACULA_PROJECT}_${key}`)
  const foreign = new Set(found.filter(isForeign).map(([key]) => key))
  const ours = found.map(([key]) => key).filter(key => !foreign.has(key))
  return Object.fromEntries(ours.map(key => [key, { labels: { [installationLabel]: id } }]))
}

interface Resource {
  name?: string
  external?: unknown
}

/** The files and folders of this machine that a service mounts, whichever file says so, as absolute paths. */
function mountedSources({ compose, composeFiles, paths }: Platform): (service: MergedService) => string[] {
  const secrets = Object.assign({}, ...composeFiles.map(({ content }) => content.secrets), compose.ours.secrets)
  const folders = [paths.stateDir, dirname(paths.localComposeFile)]
  return service => {
    const written = [
      ...service.volumes.map(volume => (typeof volume === 'string' ? volume.split(':')[0] : volume.source)),
      ...service.secrets.map(name => secrets[name]?.file),
    ]
    return written
      .filter(source => typeof source === 'string' && /^[./]/.test(source))
      .flatMap(source => folders.map(folder => resolve(folder, String(source))))
      .flatMap(source => (source.startsWith(`${paths.stateDir}/`) ? [relative(paths.stateDir, source)] : []))
  }
}

/** Hash of the rendered files that a service mounts; undefined when it mounts none. */
function hashOfMounted(sources: readonly string[], configs: readonly RenderedFile[]): string | undefined {
  const mounted = configs.filter(({ path }) => sources.some(source => path === source || path.startsWith(`${source}/`)))
  return mounted.length === 0 ? undefined : hashOf(...mounted.flatMap(({ path, content }) => [path, content]))
}

/** The variables of the user's files: the settings that are no secrets, and what those files took from the environment. */
function settingsFile({ settings, compose }: Platform): string {
  const shown = Object.entries(settings).filter(([name]) => !isSecret(name))
  const lines = Object.entries({ ...Object.fromEntries(shown), ...compose.variables }).map(
    ([name, value]) => `${name}=${quoted(value)}\n`,
  )
  return `# Rendered: variables for docker-compose.local.yml, as the last start had them.\n${lines.join('')}`
}

/** A value as Compose reads it from a file of variables. */
function quoted(value: string): string {
  if (/^[\w@%+:,./=-]*$/.test(value)) return value
  return `"${value
    .replace(/["\\$]/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')}"`
}
