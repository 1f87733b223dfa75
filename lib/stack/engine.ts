import { setTimeout as pause } from 'node:timers/promises'
import type { ProcessOutput } from 'zx/core'
import { messageOf, PlatformError } from '../system/errors.ts'
import { $, lastLines, type Shell } from '../system/exec.ts'
import { systemdRuns } from '../system/systemd.ts'
import { early } from '../system/wait.ts'

/** Version of the engine. Throws with the reason and the way out where it is not installed, not running, or not ours to use. */
export async function engineVersion(shell: Shell = $): Promise<string> {
  return (await engine(shell)`docker version --format ${'{{.Server.Version}}'}`).stdout.trim()
}

/** What `docker info` prints about engine and client; what it does not print is undefined. */
export interface EngineFacts {
  /** The folder in which the engine keeps all it has. */
  folder: string | undefined
  version: string | undefined
  /** Version of the plugin `docker compose`. */
  compose: string | undefined
}

export async function engineFacts(shell: Shell = $): Promise<EngineFacts> {
  const format =
    '{{.DockerRootDir}} engine={{.ServerVersion}}{{range .ClientInfo.Plugins}} {{.Name}}={{.Version}}{{end}}'
  const stdout = await shell({ nothrow: true, timeout: engineTimeout })`docker info --format ${format}`.then(
    output => output.stdout,
    () => '',
  )
  const versionOf = (what: string) => new RegExp(` ${what}=(\\S+)`).exec(stdout)?.[1]
  return { folder: /^\/\S*/.exec(stdout)?.[0], version: versionOf('engine'), compose: versionOf('compose') }
}

/** An engine that lists nothing within this time will not answer at all; with the 2 s that a client may take to end, it is named within 15 s. */
export const engineTimeout = '6s'

/** The engine is there and does not answer: whatever needs it, or needs to know whether it is needed, ends here. */
export class HungEngine extends PlatformError {}

/** Runs a command that only reads from the engine. Throws where the engine does not answer: who it is, why not, and how to start it. */
export function engine(shell: Shell = $) {
  return async (pieces: TemplateStringsArray, ...values: unknown[]): Promise<ProcessOutput> => {
    const output = await answerOf(shell)(pieces, ...values)
    if (output.exitCode === 0) return output
    throw engineError(output.stderr, { platform: process.platform, systemd: await systemdRuns() })
  }
}

/**
 * What `inspect` says of the containers that are listed. Those that are `likely` among them, by id or name, are inspected while they are listed,
 * because each client of the engine takes 0.04 s to start; what is not listed is left out.
 */
export async function inspectListed<T extends { id: string }>(
  list: () => Promise<readonly string[]>,
  inspect: (containers: readonly string[]) => Promise<T[]>,
  likely: readonly string[],
): Promise<T[]> {
  const begun = early(likely.length === 0 ? Promise.resolve([]) : inspect(likely))
  const ids = await list()
  const known = new Map((ids.length === 0 ? [] : await begun).map(container => [container.id, container]))
  const rest = ids.filter(id => !known.has(id))
  for (const container of rest.length === 0 ? [] : await inspect(rest)) known.set(container.id, container)
  return ids.flatMap(id => known.get(id) ?? [])
}

/** The first engine that hung: a run that goes on with its other parts does not wait for it again. */
let hung: HungEngine | undefined

/** How long an engine that is busy may take: an inspection waits for the containers that it starts or ends at the moment. */
const busyTimeout = '60s'
/** What it says without looking at any container it says at once. */
const aliveTimeout = '3s'

async function isAlive(shell: Shell): Promise<boolean> {
  const ping = shell({
    nothrow: true,
    timeout: aliveTimeout,
    graceMs: 200,
  })`docker version --format ${'{{.Server.Version}}'}`
  return ping.then(
    ({ exitCode }) => exitCode === 0,
    () => false,
  )
}

/**
 * The same where any exit code is an answer. An engine that is just busy is waited for. Throws HungEngine where none comes, at once where none came
 * before in this run.
 */
export function answerOf(shell: Shell = $) {
  return async (pieces: TemplateStringsArray, ...values: unknown[]): Promise<ProcessOutput> => {
    if (hung !== undefined && shell === $) throw hung
    // a client that only reads has nothing to put in order
    const within = async (timeout: typeof engineTimeout | typeof busyTimeout) =>
      shell({ nothrow: true, timeout, graceMs: 200 })(pieces, ...values)
    const isLate = (error: unknown) => / did not end within /.test(messageOf(error))
    try {
      return await within(engineTimeout).catch(async error => {
        if (isLate(error) && (await isAlive(shell))) return within(busyTimeout)
        throw error
      })
    } catch (error) {
      if (!isLate(error)) throw error
      const found = new HungEngine(`Docker at ${await engineAddress(shell)} accepts connections and does not answer`, {
        why: messageOf(error),
        hint: howToRestart({ platform: process.platform, systemd: await systemdRuns() }),
      })
      if (shell === $) hung = found
      throw found
    }
  }
}

/** With the time in which a hung engine is told from a busy one, it is named within 15 s. */
const lookMs = 5000

/** Waits for a command that leaves all its work to the engine, however long that takes; throws HungEngine where the engine hangs meanwhile. */
export async function whileAnswering<T>(work: PromiseLike<T>, shell: Shell = $): Promise<T> {
  const over = new AbortController()
  const watch = async (): Promise<never> => {
    for (;;) {
      await pause(lookMs, undefined, { signal: over.signal })
      await answerOf(shell)`docker version --format ${'{{.Server.Version}}'}`
    }
  }
  try {
    return await Promise.race([work, watch()])
  } finally {
    over.abort()
  }
}

/** The address that the client talks to; known without the engine. A client that hangs itself cannot be asked for it. */
async function engineAddress(shell: Shell): Promise<string> {
  const quick = shell({ nothrow: true, timeout: '1s', graceMs: 200 })
  const said = (command: PromiseLike<{ stdout: string }>) =>
    command.then(
      ({ stdout }) => stdout.trim(),
      () => '',
    )
  const format = '{{.Endpoints.docker.Host}}'
  return (
    (await said(quick`printenv DOCKER_HOST`)) ||
    (await said(quick`docker context inspect --format ${format}`)) ||
    'its default address'
  )
}

function howToRestart({ platform, systemd }: EngineMachine): string {
  if (platform === 'darwin') return 'Restart Docker Desktop'
  return systemd ? 'sudo systemctl restart docker' : 'sudo service docker restart'
}

/** What decides on how an engine is started. */
interface EngineMachine {
  platform: NodeJS.Platform
  systemd: boolean
}

/** The error for an engine that does not answer, from what the client printed. */
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
