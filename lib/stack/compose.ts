import { readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { stringify } from 'yaml'
import type { ComposeFile, ComposeService } from '../platform/catalogue.ts'
import { type Installation, installationLabel } from '../platform/installation.ts'
import type { Platform } from '../platform/platform.ts'
import { hashOf, type RenderedFile } from '../platform/render.ts'
import type { Paths } from '../platform/settings.ts'
import { PlatformError } from '../system/errors.ts'
import { type Shell, shellWith } from '../system/exec.ts'
import { exists } from '../system/files.ts'
import { namesIn } from './ownership.ts'

const fileNames = ['docker-compose.yml', 'docker-compose.override.yml'] as const

/** Folder and variables with which `docker compose` finds our project, whatever the user's own environment says. */
export function composeOptions(platform: Platform): { cwd: string; env: Record<string, string> } {
  return {
    cwd: platform.paths.stateDir,
    env: {
      COMPOSE_FILE: fileNames.slice(0, platform.composeFiles.length).join(':'),
      COMPOSE_PROJECT_NAME: platform.settings.MACULA_PROJECT,
    },
  }
}

/** Throws where nothing has been rendered yet. */
export async function requireRenderedFiles({ paths }: Platform): Promise<void> {
  if (await hasRenderedFiles(paths)) return
  throw new PlatformError(`Nothing has been started from here yet: there is no ${renderedFile(paths)}`, {
    hint: 'task start-infrastructure',
  })
}

/** Whether the compose file has been rendered, as it is before anything is started. */
export function hasRenderedFiles(paths: Paths): Promise<boolean> {
  return exists(renderedFile(paths))
}

/** Name of the Compose project that was rendered last, whatever the settings say by now; the default where nothing was. */
export async function renderedProject(paths: Paths): Promise<string> {
  const text = await readFile(renderedFile(paths), 'utf8').catch(() => '')
  return /^name: ([a-z0-9-]+)$/m.exec(text)?.[1] ?? 'macula'
}

function renderedFile({ stateDir }: Paths): string {
  return join(stateDir, fileNames[0])
}

/** What commands that build images are given, so that what Docker notes of each build lies in our state folder, and not in the user's own. */
export function buildEnvironment({ stateDir }: Pick<Paths, 'stateDir'>): Record<string, string> {
  return { BUILDX_CONFIG: join(stateDir, 'buildx') }
}

/** `$` for `docker compose …` on the rendered files, which have to be there. */
export function compose(platform: Platform): Shell {
  const { cwd, env } = composeOptions(platform)
  return shellWith({ cwd, env: { ...env, ...buildEnvironment(platform.paths) } })
}

/**
 * The compose files as they are run: settings and addresses filled in, `extraPorts` published, and on each service a label with the hash of the
 * configs and secrets it mounts, so that Compose recreates a container whose configuration changed, and no other. All that they create is
 * labelled with our id. Without flags `docker compose` in the state folder finds them both.
 */
export function renderComposeFiles(
  platform: Platform,
  configs: readonly RenderedFile[],
  installation: Installation,
  extraPorts: Readonly<Record<string, readonly string[]>> = {},
): RenderedFile[] {
  const secretFiles = Object.assign({}, ...platform.composeFiles.map(({ content }) => content.secrets))
  const ours = platform.composeFiles[0]?.content
  // with these options the collector reads a service's lines; a user's service gets them unless it says something else
  const logging = (ours?.['x-service'] as ComposeService | undefined)?.logging
  return platform.composeFiles.map((compose, index) => {
    const services: Record<string, ComposeService> = {}
    for (const [name, service] of Object.entries(compose.content.services ?? {})) {
      const hash = mountedHash(service, configs, secretFiles)
      services[name] = {
        ...(logging !== undefined && ours?.services?.[name] === undefined ? { logging } : {}),
        ...service,
        ...(index === 0 && extraPorts[name] ? { ports: [...(service.ports ?? []), ...extraPorts[name]] } : {}),
        labels: {
          ...labelsOf(service),
          [installationLabel]: installation.id,
          ...(hash === undefined ? {} : { 'macula.config': hash }),
        },
      }
    }
    const content: ComposeFile = { ...compose.content, services, ...labelled(platform, compose.content, installation) }
    return {
      path: fileNames[index] ?? compose.file,
      content: `# Rendered from ${compose.file}; changes belong there.\n${stringify(index === 0 ? content : withAbsolutePaths(content, dirname(platform.paths.localComposeFile)), { lineWidth: 0 })}`,
      mode: 0o600,
    }
  })
}

/** Hash of the rendered files that a service mounts; undefined when it mounts none. */
function mountedHash(
  service: ComposeService,
  configs: readonly RenderedFile[],
  secrets: ComposeFile['secrets'] = {},
): string | undefined {
  const sources = [
    ...(service.volumes ?? []).map(volume =>
      typeof volume === 'string' ? (volume.split(':')[0] ?? '') : (volume.source ?? ''),
    ),
    ...(service.secrets ?? []).map(secret => secrets[typeof secret === 'string' ? secret : secret.source]?.file ?? ''),
  ].flatMap(source => (source.startsWith('./') ? [join(source)] : []))
  const mounted = configs.filter(({ path }) => sources.some(source => path === source || path.startsWith(`${source}/`)))
  return mounted.length === 0 ? undefined : hashOf(...mounted.flatMap(({ path, content }) => [path, content]))
}

/** Networks and volumes with our label, less those of others and those taken over without one: Compose recreates what is labelled differently. */
function labelled({ settings }: Platform, content: ComposeFile, installation: Installation): ComposeFile {
  const sections = (['networks', 'volumes'] as const).flatMap(section => {
    const found = content[section] as Record<string, Resource | null> | undefined
    if (found === undefined) return []
    const adopted = namesIn(installation, section === 'networks' ? 'network' : 'volume')
    const entries = Object.entries(found).map(([key, resource]) => {
      const name = resource?.name ?? `${settings.MACULA_PROJECT}_${key}`
      if (resource?.external || adopted.has(name)) return [key, resource] as const
      return [
        key,
        { ...resource, labels: { ...labelsOf(resource ?? {}), [installationLabel]: installation.id } },
      ] as const
    })
    return [[section, Object.fromEntries(entries)] as const]
  })
  return Object.fromEntries(sections)
}

interface Resource {
  name?: string
  external?: unknown
  labels?: Record<string, string> | string[]
}

function labelsOf({ labels = {} }: Resource | ComposeService): Record<string, string> {
  if (!Array.isArray(labels)) return labels
  return Object.fromEntries(labels.map(label => [label.split('=')[0] ?? label, label.split('=').slice(1).join('=')]))
}

/** A user's file is rendered into another folder: its relative paths have to go on meaning the same files. */
function withAbsolutePaths(content: ComposeFile, folder: string): ComposeFile {
  const absolute = (path: string) => (/^\.{1,2}(\/|$)/.test(path) ? resolve(folder, path) : path)
  const volume = (volume: string | { source?: string }) => {
    if (typeof volume === 'string')
      return [absolute(volume.split(':')[0] ?? ''), ...volume.split(':').slice(1)].join(':')
    return volume.source ? { ...volume, source: absolute(volume.source) } : volume
  }
  const build = (build: unknown) => {
    if (typeof build === 'string') return resolve(folder, build)
    if (build && typeof build === 'object' && 'context' in build)
      return { ...build, context: resolve(folder, String(build.context)) }
    return build
  }
  const envFile = (file: unknown) =>
    (Array.isArray(file) ? file : [file]).map(each => (typeof each === 'string' ? resolve(folder, each) : each))
  const withFiles = (entries: Record<string, { file?: string }> | undefined) =>
    entries &&
    Object.fromEntries(
      Object.entries(entries).map(([name, entry]) => [
        name,
        entry?.file ? { ...entry, file: resolve(folder, entry.file) } : entry,
      ]),
    )
  const services = Object.fromEntries(
    Object.entries(content.services ?? {}).map(([name, service]) => [
      name,
      {
        ...service,
        ...(service.volumes ? { volumes: service.volumes.map(volume) } : {}),
        ...(service.build === undefined ? {} : { build: build(service.build) }),
        ...(service.env_file === undefined ? {} : { env_file: envFile(service.env_file) }),
      },
    ]),
  )
  return {
    ...content,
    services,
    ...(content.secrets ? { secrets: withFiles(content.secrets) ?? {} } : {}),
    ...(content.configs ? { configs: withFiles(content.configs as Record<string, { file?: string }>) } : {}),
  }
}
