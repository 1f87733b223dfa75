import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { ask } from './exec.ts'
import type { Privilege } from './privilege.ts'

// /proc is read synchronously throughout: it is memory, and going through the thread pool for each of its thousands of files takes ten times as long

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
  const fields = statFields(pid)
  const command = commandOf(pid)
  if (fields === undefined || command === undefined || fields[0] === 'Z') return undefined
  return { pid, startTime: `${fields[19]}@${read('/proc/sys/kernel/random/boot_id')?.trim()}`, command }
}

/** Whether the very process that was recorded still runs. */
export async function isSame({ pid, startTime }: ProcessIdentity): Promise<boolean> {
  return (await identityOf(pid))?.startTime === startTime
}

/** The pids of a process's children. Linux only. */
export function childrenOf(pid: number): number[] {
  return allPids().filter(child => Number(statFields(child)?.[1]) === pid)
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
    const pids = (await ask(['ps', '-axo', 'pid='])).stdout.split(/\s+/).filter(Boolean)
    const all = await Promise.all(pids.map(pid => identityByPs(Number(pid))))
    return all.filter(identity => identity !== undefined && accepts(identity.command)) as RunningProcess[]
  }
  const network = networkOf('self')
  const accepted = allPids().filter(pid => {
    const command = commandOf(pid)
    // another user's namespace cannot be read; then the command line alone has to do
    return command !== undefined && accepts(command) && (networkOf(pid) ?? network) === network
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
export async function startDetached(command: readonly string[], log: string, { run }: Privilege): Promise<number> {
  const { stdout } = await run(['sh', '-c', startScript, 'start', log, ...command])
  return Number(stdout.trim())
}

/**
 * Ends a process, and with it the children of its group where it leads one (a forwarder and its open connections):
 * SIGTERM, after three seconds SIGKILL. Returns when it is gone; quiet when it was.
 */
export async function endProcess(identity: ProcessIdentity, { ask: asRoot }: Privilege): Promise<void> {
  for (const [signal, waitMs] of [['TERM', 3000] as const, ['KILL', 3000] as const]) {
    if (!(await isSame(identity))) return
    // `-s`, because the kill of dash does not take `-TERM --`
    const group = await asRoot(['kill', '-s', signal, '--', `-${identity.pid}`])
    if (group.exitCode !== 0) await asRoot(['kill', `-${signal}`, String(identity.pid)])
    for (const deadline = Date.now() + waitMs; Date.now() < deadline; ) {
      if (!(await isSame(identity))) return
      await new Promise(resume => setTimeout(resume, 20))
    }
  }
}

function allPids(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger)
}

/** What /proc/PID/stat says from its third field on: state, parent, …; the name before that may hold spaces and brackets itself. */
function statFields(pid: number): string[] | undefined {
  const stat = read(`/proc/${pid}/stat`)
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
}

function commandOf(pid: number): string[] | undefined {
  return read(`/proc/${pid}/cmdline`)?.split('\0').slice(0, -1)
}

function networkOf(pid: number | 'self'): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return undefined // another user's
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined // it ended while we looked
  }
}

async function identityByPs(pid: number): Promise<RunningProcess | undefined> {
  const { exitCode, stdout } = await ask(['ps', '-o', 'lstart=', '-o', 'command=', '-p', String(pid)])
  // lstart is five words: Mon Nov 23 21:00:00 2026
  const words = stdout.trim().split(/\s+/)
  return exitCode === 0 ? { pid, startTime: words.slice(0, 5).join(' '), command: words.slice(5) } : undefined
}
