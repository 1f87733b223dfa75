import type { Settings } from '../platform/settings.ts'
import { PlatformError } from '../system/errors.ts'
import { ask, lastLines, type Runner } from '../system/exec.ts'
import { systemdRuns } from '../system/systemd.ts'

/** What runs in place of the published image: the real program from another source, another program of the same protocol, or one that answers the health path only. */
export type StandIn = 'real' | 'other' | 'placeholder'

const standIns: readonly string[] = ['real', 'other', 'placeholder'] satisfies StandIn[]

/** A container of the platform, as the engine sees it. */
export interface Container {
  id: string
  name: string
  /** Name of the service it was made for. */
  service: string
  image: string
  /** Id of the image it was made from; the name may belong to another one by now. */
  imageId: string
  state: 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead'
  /** What its own check says; undefined where it has none. */
  health: 'starting' | 'healthy' | 'unhealthy' | undefined
  /** Of the last run, when it has ended. */
  exitCode: number
  /** When it took up its present state; undefined when it never ran. */
  since: Date | undefined
  /** When its last run started; undefined when it never ran. */
  startedAt: Date | undefined
  /** Restarts by the engine since it was created. */
  restartCount: number
  labels: Readonly<Record<string, string>>
  /** Set by the label that images built in place of the published ones carry; undefined for the published ones. */
  standIn: StandIn | undefined
  /** What it calls itself where it is another program: `another S3 server`. */
  standInName?: string | undefined
}

/** Containers of the platform, running or not. Throws where the engine cannot be asked. */
export async function projectContainers(
  { settings }: { settings: Pick<Settings, 'MACULA_PROJECT'> },
  asker: Runner = ask,
): Promise<Container[]> {
  const listed = await docker(asker, [
    'ps',
    '--all',
    '--no-trunc',
    '--filter',
    `label=com.docker.compose.project=${settings.MACULA_PROJECT}`,
    // containers of `compose run` are not the service
    '--filter',
    'label=com.docker.compose.oneoff=False',
    '--format',
    '{{.ID}}',
  ])
  const ids = listed.stdout.split('\n').filter(Boolean)
  if (ids.length === 0) return []
  // exits with 1 when one of them is gone meanwhile, and tells of the others all the same
  const inspected = await asker(['docker', 'container', 'inspect', ...ids], { timeoutMs: engineTimeoutMs })
  return parseContainers(inspected.stdout)
}

/** Version of the engine. Throws with the reason and the way out where it is not installed, not running, or not ours to use. */
export async function engineVersion(asker: Runner = ask): Promise<string> {
  return (await docker(asker, ['version', '--format', '{{.Server.Version}}'])).stdout.trim()
}

/** What `docker info` tells of engine and client; what it does not say is undefined. */
export interface EngineFacts {
  /** The folder in which the engine keeps all it has. */
  folder: string | undefined
  version: string | undefined
  /** Version of the plugin `docker compose`. */
  compose: string | undefined
}

export async function engineFacts(asker: Runner = ask): Promise<EngineFacts> {
  const format =
    '{{.DockerRootDir}} engine={{.ServerVersion}}{{range .ClientInfo.Plugins}} {{.Name}}={{.Version}}{{end}}'
  const { stdout } = await asker(['docker', 'info', '--format', format], { timeoutMs: engineTimeoutMs }).catch(() => ({
    stdout: '',
  }))
  const versionOf = (what: string) => new RegExp(` ${what}=(\\S+)`).exec(stdout)?.[1]
  return { folder: /^\/\S*/.exec(stdout)?.[0], version: versionOf('engine'), compose: versionOf('compose') }
}

/** The last lines a container has written, both streams; empty for a container that is gone. */
export async function lastLogLines(container: string, count = 12, asker: Runner = ask): Promise<string> {
  const { exitCode, stdout, stderr } = await asker(['docker', 'logs', '--tail', String(count), container])
  return exitCode === 0 ? lastLines(stdout + stderr, count) : ''
}

/** Reads what `docker container inspect` prints. */
export function parseContainers(json: string): Container[] {
  return (JSON.parse(json || '[]') as Inspected[]).map(({ Id, Name, Image, RestartCount, State, Config }) => {
    const labels = Config.Labels ?? {}
    const startedAt = dateOf(State.StartedAt)
    const ended = State.Status === 'exited' || State.Status === 'dead' || State.Status === 'restarting'
    const standIn = labels['macula.standin']
    return {
      id: Id,
      name: Name.replace(/^\//, ''),
      service: labels['com.docker.compose.service'] ?? '',
      image: Config.Image,
      imageId: Image,
      state: State.Status,
      health: State.Health && State.Health.Status !== 'none' ? State.Health.Status : undefined,
      exitCode: State.ExitCode,
      since: ended ? dateOf(State.FinishedAt) : startedAt,
      startedAt,
      restartCount: RestartCount,
      labels,
      standIn: standIns.includes(standIn ?? '') ? (standIn as StandIn) : undefined,
      standInName: labels['macula.standin.name'],
    }
  })
}

/** Whether the engine would call a container fine: it runs, and its own check does not say otherwise. */
export function isWell(container: Container | undefined): boolean {
  return container?.state === 'running' && (container.health ?? 'healthy') === 'healthy'
}

/** What the engine says of a container, in a few words: `running, unhealthy`, `exited (137)`, `not created`. */
export function describeContainer(container: Container | undefined): string {
  if (container === undefined) return 'not created'
  if (container.state === 'running') return container.health === undefined ? 'running' : `running, ${container.health}`
  return container.state === 'exited' || container.state === 'restarting'
    ? `${container.state} (${container.exitCode})`
    : container.state
}

interface Inspected {
  Id: string
  Name: string
  Image: string
  RestartCount: number
  State: {
    Status: Container['state']
    ExitCode: number
    StartedAt: string
    FinishedAt: string
    Health?: { Status: 'none' | 'starting' | 'healthy' | 'unhealthy' }
  }
  Config: { Image: string; Labels: Record<string, string> | null }
}

// the engine writes the year 1 for what never happened
function dateOf(text: string): Date | undefined {
  return text.startsWith('0001-') ? undefined : new Date(text)
}

/** An engine that does not answer a listing within this time will not answer at all; one that is unpacking images may take many seconds. */
export const engineTimeoutMs = 30_000

async function docker(asker: Runner, words: readonly string[]) {
  const result = await asker(['docker', ...words], { timeoutMs: engineTimeoutMs })
  if (result.exitCode === 0) return result
  throw engineError(result.stderr, { platform: process.platform, systemd: await systemdRuns() })
}

/** What decides on how an engine is started. */
interface EngineMachine {
  platform: NodeJS.Platform
  systemd: boolean
}

/** The error for an engine that cannot be asked, from what the client said. */
export function engineError(stderr: string, machine: EngineMachine): PlatformError {
  const why = lastLines(stderr, 3)
  if (/permission denied/i.test(stderr)) {
    return new PlatformError('This user may not use Docker', {
      why,
      hint: 'sudo usermod --append --groups docker "$USER", then log in again',
    })
  }
  if (/cannot connect|is the docker daemon running|connection refused|no such file/i.test(stderr)) {
    const address = /(?:unix|npipe|tcp|ssh|https?):\/\/[^\s;,"]*[^\s;,".]/.exec(stderr)?.[0] ?? ''
    return new PlatformError('Docker is not running', { why, hint: howToStart(address, machine) })
  }
  return new PlatformError('Docker does not answer', { why, hint: 'task doctor' })
}

// The address that the client tried tells which engine it was: one of the machine, of its user, or somewhere else.
function howToStart(address: string, { platform, systemd }: EngineMachine): string {
  const orAnother = 'docker context ls   # lists the engines you have; `docker context use NAME` chooses one'
  if (address.includes('/.colima/')) return 'colima start'
  if (address.includes('/.docker/desktop/')) return `systemctl --user start docker-desktop\n${orAnother}`
  if (platform === 'darwin' || address.startsWith('npipe:')) return `Start Docker Desktop\n${orAnother}`
  if (/^unix:\/\/\/(run\/user|home)\//.test(address)) return `systemctl --user start docker\n${orAnother}`
  if (address !== '' && !address.startsWith('unix:'))
    return `Start the engine at ${address}, or choose another:\n${orAnother}`
  return systemd ? 'sudo systemctl start docker' : 'sudo service docker start'
}
