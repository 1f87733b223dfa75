import type { Service } from '../platform/services.ts'
import type { Paths, Settings } from '../platform/settings.ts'
import { $, lastLines, type Shell } from '../system/exec.ts'
import { answerOf, inspectListed } from './engine.ts'
import { requireOwnContainers } from './ownership.ts'

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
  /** What its own healthcheck says; undefined where it has none. */
  health: 'starting' | 'healthy' | 'unhealthy' | undefined
  /** Of the last run, when it has ended. */
  exitCode: number
  /** When it entered its present state; undefined when it never ran. */
  since: Date | undefined
  /** When its last run started; undefined when it never ran. */
  startedAt: Date | undefined
  /** The engine starts it again when it ends, whatever its exit code: a service, and no job that has an end. */
  isKeptRunning?: boolean
  /** Restarts by the engine since it was created. */
  restartCount: number
  labels: Readonly<Record<string, string>>
  /** Set by the label that images built in place of the published ones carry; undefined for the published ones. */
  standIn: StandIn | undefined
  /** What it calls itself where it is another program: `another S3 server`. */
  standInName?: string | undefined
}

/**
 * Our containers, running or not; those of `compose run` are not the service and left out. Throws where the engine does not answer,
 * and where containers that are not ours have the name of our project or of one of ours.
 */
export async function projectContainers(
  platform: {
    settings: Pick<Settings, 'MACULA_PROJECT'>
    paths: Pick<Paths, 'stateDir'>
    services: readonly Pick<Service, 'container'>[]
  },
  shell: Shell = $,
): Promise<Container[]> {
  return inspectListed(
    () => requireOwnContainers(platform, shell),
    async containers => {
      // exits with 1 when one of them is not there, and prints the others all the same
      const { stdout } = await answerOf(shell)`docker container inspect ${containers}`
      return parseContainers(stdout)
    },
    platform.services.map(({ container }) => container),
  )
}

/** The last lines a container has written, both streams; empty for a container that is gone. */
export async function lastLogLines(container: string, count = 12, shell: Shell = $): Promise<string> {
  const { exitCode, stdall } = await shell({ nothrow: true })`docker logs --tail ${count} ${container}`
  return exitCode === 0 ? lastLines(stdall, count) : ''
}

/** Reads what `docker container inspect` prints. */
export function parseContainers(json: string): Container[] {
  return (JSON.parse(json || '[]') as Inspected[]).map(
    ({ Id, Name, Image, RestartCount, State, Config, HostConfig }) => {
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
        isKeptRunning: ['always', 'unless-stopped'].includes(HostConfig?.RestartPolicy?.Name ?? ''),
        restartCount: RestartCount,
        labels,
        standIn: standIns.includes(standIn ?? '') ? (standIn as StandIn) : undefined,
        standInName: labels['macula.standin.name'],
      }
    },
  )
}

/** Whether the engine considers a container healthy: it runs, and its own healthcheck, if any, passes. */
export function isHealthy(container: Container | undefined): boolean {
  return container?.state === 'running' && (container.health ?? 'healthy') === 'healthy'
}

/** The engine's state of a container, in a few words: `running, unhealthy`, `exited (137)`, `not created`. */
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
  HostConfig?: { RestartPolicy?: { Name: string } }
}

// the engine writes the year 1 for what never happened
function dateOf(text: string): Date | undefined {
  return text.startsWith('0001-') ? undefined : new Date(text)
}
