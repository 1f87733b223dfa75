import { readdir, readFile, readlink } from 'node:fs/promises'
import { ask } from './exec.ts'
import type { Privilege } from './privilege.ts'

/** One process, as unmistakable as it gets: a pid is used again, a pid with its start time is not. */
export interface ProcessIdentity {
  pid: number
  /** Opaque; what the kernel says about when it began. */
  startTime: string
}

/** When a process began and what it runs; undefined when there is none of that pid. */
export async function identityOf(pid: number): Promise<(ProcessIdentity & { command: string[] }) | undefined> {
  if (process.platform !== 'linux') return identityByPs(pid)
  try {
    // the name in parentheses may contain anything, so fields count from the last parenthesis; the 22nd is the start time
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z') return undefined
    const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').slice(0, -1)
    return { pid, startTime: fields[19] ?? '', command }
  } catch {
    return undefined // it ended while we looked
  }
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
export async function findProcesses(
  accepts: (command: readonly string[]) => boolean,
): Promise<(ProcessIdentity & { command: string[] })[]> {
  const isLinux = process.platform === 'linux'
  const pids = isLinux
    ? (await readdir('/proc')).filter(entry => /^\d+$/.test(entry))
    : (await ask(['ps', '-axo', 'pid='])).stdout.split(/\s+/).filter(Boolean)
  const network = isLinux ? await networkOf('self') : undefined
  const found = await Promise.all(
    pids.map(async pid => {
      const identity = await identityOf(Number(pid))
      if (identity === undefined || !accepts(identity.command)) return undefined
      // another user's namespace cannot be read; then the command line alone has to do
      const itsNetwork = isLinux ? await networkOf(pid) : undefined
      return itsNetwork === undefined || itsNetwork === network ? identity : undefined
    }),
  )
  return found.filter(identity => identity !== undefined)
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
    const group = await asRoot(['kill', `-${signal}`, '--', `-${identity.pid}`])
    if (group.exitCode !== 0) await asRoot(['kill', `-${signal}`, String(identity.pid)])
    for (const deadline = Date.now() + waitMs; Date.now() < deadline; ) {
      if (!(await isSame(identity))) return
      await new Promise(resume => setTimeout(resume, 20))
    }
  }
}

/** Whether the very process that was recorded still runs. */
export async function isSame({ pid, startTime }: ProcessIdentity): Promise<boolean> {
  return (await identityOf(pid))?.startTime === startTime
}

async function networkOf(pid: string): Promise<string | undefined> {
  return readlink(`/proc/${pid}/ns/net`).catch(() => undefined)
}

async function identityByPs(pid: number): Promise<(ProcessIdentity & { command: string[] }) | undefined> {
  const { exitCode, stdout } = await ask(['ps', '-o', 'lstart=', '-o', 'command=', '-p', String(pid)])
  // lstart is five words: Mon Nov 23 21:00:00 2026
  const words = stdout.trim().split(/\s+/)
  return exitCode === 0 ? { pid, startTime: words.slice(0, 5).join(' '), command: words.slice(5) } : undefined
}
