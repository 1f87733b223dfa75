import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onMachineNetwork } from '../platform/addresses.ts'
import type { Platform } from '../platform/platform.ts'
import type { RenderedFile } from '../platform/render.ts'
import type { Paths } from '../platform/settings.ts'
import { badInput, PlatformError, type Problem } from '../system/errors.ts'
import { $, type Shell, shellWith } from '../system/exec.ts'
import { exists, replaceFile } from '../system/files.ts'
import { composeFileNames } from './compose-render.ts'

/** Folder and variables with which `docker compose` finds our project, whatever the user's own environment says. */
export function composeOptions({ paths, settings }: Pick<Platform, 'paths' | 'settings'>): {
  cwd: string
  env: Record<string, string>
} {
  return {
    cwd: paths.stateDir,
    env: { COMPOSE_FILE: composeFileNames.project, COMPOSE_PROJECT_NAME: settings.MACULA_PROJECT },
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
  return join(stateDir, composeFileNames.project)
}

/** What commands that build images are given, so that what Docker notes of each build lies in our state folder, and not in the user's own. */
export function buildEnvironment({ stateDir }: Pick<Paths, 'stateDir'>): Record<string, string> {
  return { BUILDX_CONFIG: join(stateDir, 'buildx') }
}

/** `$` for `docker compose …` on the rendered files, which have to be there. */
export function compose(platform: Pick<Platform, 'paths' | 'settings'>): Shell {
  const { cwd, env } = composeOptions(platform)
  return shellWith({ cwd, env: { ...env, ...buildEnvironment(platform.paths) } })
}

/**
 * Validates rendered files with Docker Compose before they replace the working ones. Throws (exit code 2) with Compose's own words where it rejects
 * them, and with the service where a port would be reachable from outside this machine. Returns Compose's warnings. Changes nothing.
 */
export async function requireAccepted(platform: Platform, files: readonly RenderedFile[]): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'macula-compose-'))
  try {
    const names: string[] = Object.values(composeFileNames)
    for (const { path, content } of files)
      if (names.includes(path)) await replaceFile(join(folder, path), content, { mode: 0o600 })
    const { env } = composeOptions(platform)
    const { exitCode, stdout, stderr } = await $({
      cwd: folder,
      env,
      nothrow: true,
    })`docker compose --profile ${'*'} config --format json`
    const messages = messagesOf(stderr)
    const file = platform.compose.hasLocalFile ? platform.paths.localComposeFile : 'templates/docker-compose.yml'
    if (exitCode !== 0)
      throw badInput(
        'Docker Compose does not accept the description of the services',
        messages.filter(({ isWarning }) => !isWarning).map(({ text }) => ({ where: 'docker compose', what: text })),
        `Correct ${file}; nothing has been changed`,
      )
    const exposed = exposedServices(stdout)
    if (exposed.length > 0)
      throw badInput(
        'A service would be reachable from outside this machine',
        exposed,
        'Give its ports a loopback address, like "127.0.0.9:8080:80"; nothing has been changed',
      )
    return messages.filter(({ isWarning }) => isWarning).map(({ text }) => text)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Services with a port that other machines could reach, also where it comes from a file that only Compose reads. */
function exposedServices(json: string): Problem[] {
  interface Described {
    network_mode?: string
    ports?: { host_ip?: string }[]
  }
  const { services = {} } = JSON.parse(json) as { services?: Record<string, Described> }
  return Object.entries(services).flatMap(([name, { network_mode, ports = [] }]) => [
    ...(network_mode === 'host' && !onMachineNetwork.includes(name)
      ? [{ where: `services.${name}.network_mode`, what: 'host' }]
      : []),
    ...ports
      .filter(({ host_ip }) => !host_ip?.startsWith('127.'))
      .map(port => ({ where: `services.${name}.ports`, what: JSON.stringify(port) })),
  ])
}

/** The messages of Compose: lines of logfmt, and plain ones. */
function messagesOf(stderr: string): { isWarning: boolean; text: string }[] {
  return stderr
    .split('\n')
    .filter(line => line.trim() !== '')
    .map(line => {
      const [, level, text] = /\blevel=(\w+) msg=("(?:[^"\\]|\\.)*")/.exec(line) ?? []
      return { isWarning: level === 'warning', text: text === undefined ? line.trim() : (JSON.parse(text) as string) }
    })
}
