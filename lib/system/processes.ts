import { PlatformError } from './errors.ts'
import { $ } from './exec.ts'
import type { Privilege } from './privilege.ts'
import { allPids, commandOf, linkOf, procText, statOf } from './proc.mjs'
import { NotYet, waitFor } from './wait.ts'

/** One process, as unmistakable as it gets: a pid is used again, a pid with its start time is not, also after a reboot. */
export interface ProcessIdentity {
  pid: number
  /** Opaque; what the kernel says about when it began. On Linux clock ticks since boot, and which boot. */
  startTime: string
}

interface RunningProcess extends ProcessIdentity {
  command: string[]
}

/** When a process began and what it runs; undefined when there is none of that pid. A zombie has ended, whoever has not collected it yet. */
export async function identityOf(pid: number): Promise<RunningProcess | undefined> {
  if (process.platform !== 'linux') return identityByPs(pid)
  const stat = statOf(pid)
  const command = commandOf(pid)
  if (stat === undefined || command === undefined || stat.state === 'Z') return undefined
  return { pid, startTime: `${stat.startTicks}@${procText('sys/kernel/random/boot_id')?.trim()}`, command }
}

/** Whether the very process that was recorded still runs. */
export async function isSame({ pid, startTime }: ProcessIdentity): Promise<boolean> {
  return (await identityOf(pid))?.startTime === startTime
}

/** The pids of a process's children. Linux only. */
export function childrenOf(pid: number): number[] {
  return allPids().filter(child => statOf(child)?.parent === pid)
}

/** The processes above one, the nearest first. */
export async function ancestorsOf(pid: number): Promise<number[]> {
  const parents =
    process.platform === 'linux'
      ? undefined
      : new Map(
          (await $`ps -axo pid=,ppid=`.lines()).map(line => line.trim().split(/\s+/).map(Number) as [number, number]),
        )
  const found: number[] = []
  const parentOf = (each: number) => (parents === undefined ? statOf(each)?.parent : parents.get(each)) ?? 0
  for (let each = parentOf(pid); each > 1 && !found.includes(each); each = parentOf(each)) found.push(each)
  return found
}

/** Processes that run exactly this command line in our own network: those of a sandbox beside us are not ours. */
export async function processesRunning(command: readonly string[]): Promise<ProcessIdentity[]> {
  const wanted = command.join('\0')
  const found = await findProcesses(running => running.join('\0') === wanted)
  return found.map(({ pid, startTime }) => ({ pid, startTime }))
}

/**
 * Processes in our own network whose command line is accepted. Outside Linux the words are what `ps` prints, split at spaces.
 */
export async function findProcesses(accepts: (command: readonly string[]) => boolean): Promise<RunningProcess[]> {
  if (process.platform !== 'linux') {
    const pids = (await $`ps -axo pid=`.text()).split(/\s+/).filter(Boolean)
    const all = await Promise.all(pids.map(pid => identityByPs(Number(pid))))
    return all.filter(identity => identity !== undefined && accepts(identity.command)) as RunningProcess[]
  }
  const network = linkOf('self', 'ns/net')
  const accepted = allPids().filter(pid => {
    const command = commandOf(pid)
    // another user's namespace cannot be read; then the command line alone has to do
    return command !== undefined && accepts(command) && (linkOf(pid, 'ns/net') ?? network) === network
  })
  const found = await Promise.all(accepted.map(identityOf))
  // a process that ends, or starts another program, between the two looks has another command line by now
  return found.filter(identity => identity !== undefined && accepts(identity.command)) as RunningProcess[]
}

// setsid takes it out of our session, so that Ctrl-C and the end of the terminal do not reach it
const startScript = `set -eu
log="$1"
shift
if command -v setsid >/dev/null 2>&1; then setsid "$@" </dev/null >>"$log" 2>&1 &
else nohup "$@" </dev/null >>"$log" 2>&1 &
fi
echo $!`

/** Starts a program that outlives us and returns its pid. Its output is added to `log`. */
export async function startDetached(command: readonly string[], log: string, privilege: Privilege): Promise<number> {
  return Number(await privilege.$`sh -c ${startScript} start ${log} ${command}`.text())
}

/**
 * Ends a process, and with it the children of its group where it leads one (a forwarder and its open connections):
 * SIGTERM, after three seconds SIGKILL. Returns when it is gone; quiet when it was.
 */
export async function endProcess(identity: ProcessIdentity, privilege: Privilege): Promise<void> {
  const { pid } = identity
  const asRoot = privilege.$
  for (const signal of ['TERM', 'KILL']) {
    if (!(await isSame(identity))) return
    // `-s`, because the kill of dash does not take `-TERM --`
    await asRoot({ nothrow: true })`kill -s ${signal} -- -${pid} || kill -s ${signal} ${pid}`
    if (await isGone(identity)) return
  }
}

async function isGone(identity: ProcessIdentity): Promise<boolean> {
  const look = async () => ((await isSame(identity)) ? new NotYet('it runs') : true)
  const onTimeout = () => new PlatformError(`Process ${identity.pid} still runs`)
  return waitFor(look, { timeoutMs: 3000, pauseMs: 20, onTimeout }).catch(() => false)
}

async function identityByPs(pid: number): Promise<RunningProcess | undefined> {
  const { exitCode, stdout } = await $({ nothrow: true })`ps -o lstart= -o command= -p ${pid}`
  // lstart is five words: Mon Nov 23 21:00:00 2026
  const words = stdout.trim().split(/\s+/)
  return exitCode === 0 ? { pid, startTime: words.slice(0, 5).join(' '), command: words.slice(5) } : undefined
}
