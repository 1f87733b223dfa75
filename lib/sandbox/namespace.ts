import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { mkdir, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { $ as zx } from 'zx/core'
import { root } from '../system/checkout.ts'
import { PlatformError } from '../system/errors.ts'
import { $, type CommandOptions, lastLines, type Shell } from '../system/exec.ts'
import { childrenOf, identityOf, isSame, type ProcessIdentity } from '../system/processes.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import { forgetState, livingSandbox, type SandboxState, type Store } from './store.ts'

/** A private copy of the machine: own network, mounts and processes. */
export interface Namespace {
  init: ProcessIdentity
  /** Lets it live on when this process has ended. */
  keep(): Promise<void>
  /** Ends all in it; resolves when nothing is left. */
  end(): Promise<void>
}

type Child = ChildProcessByStdio<Writable, Readable, null>

const initScript = join(root, 'lib', 'sandbox', 'init.sh')
/** How `flock` says that somebody else holds the lock; any number that no other part of the command uses. */
const lockedExitCode = 75
/** Mounting some ten folders takes 0.1 s; the rest is for a machine that is busy. */
const startDeadlineMs = 30_000
/** The first process gives the others 8 s to end by themselves and 8 s to die (init.sh), then it goes. */
const endDeadlineMs = 25_000

/**
 * Starts a private copy of the machine: changes below `/` go to memory, `shared` folders stay the machine's own, there is no network.
 * It ends when `end` is called and when this process ends, however that happens, unless it is kept.
 * Throws when the store's sandbox is up already; what an earlier one left is removed first. Needs root.
 */
export async function startNamespace(store: Store, shared: readonly string[]): Promise<Namespace> {
  await mkdir(store.dataRoot, { recursive: true })
  await endOrphan(store)
  const log = await open(store.initLog, 'w', 0o600)
  const words = [...lockWords(store), ...unshareWords, initScript, store.cgroup, ...shared]
  const child = spawn('flock', words, {
    // away from the terminal: Ctrl-C is for us, and we end the sandbox in order
    detached: true,
    stdio: ['pipe', 'pipe', log.fd],
  }) as Child
  await log.close()
  try {
    await untilReady(child)
  } catch (error) {
    child.kill('SIGKILL')
    if (child.exitCode === lockedExitCode) throw await inUse(store)
    throw new PlatformError('The private copy of the machine could not be made', {
      why: lastLines(await readFile(store.initLog, 'utf8')) || (error as Error).message,
      hint: 'sudo unshare --net --mount --pid --fork --mount-proc true   # has to work',
    })
  }
  const [pid = 0] = childrenOf(child.pid ?? 0)
  const init = await identityOf(pid)
  if (!init) throw new PlatformError('The first process of the sandbox ended at once', { hint: `cat ${store.initLog}` })
  return {
    init,
    async keep() {
      await new Promise<void>(resolve => child.stdin.end('keep\n', resolve))
      // nothing of it may hold this process back
      child.stdout.destroy()
      child.unref()
    },
    async end() {
      child.stdin.end()
      await untilGone(init, endDeadlineMs)
      await removeLeftovers(store)
    },
  }
}

/** Ends a sandbox that another process started. */
export async function endSandbox(store: Store, { init }: SandboxState): Promise<void> {
  process.kill(init.pid, 'SIGTERM')
  await untilGone(init, endDeadlineMs)
  await removeLeftovers(store)
}

export interface InsideOptions {
  /** Added to the environment of every command. */
  environment?: Readonly<Record<string, string>> | undefined
  /** Taken out of it. */
  unset?: readonly string[]
  /** Folder that commands start in, as it is called inside; `/` unless said otherwise. */
  cwd?: string
  network?: 'private' | 'machine'
}

/** A `$` whose commands run in the sandbox; with the machine's network where that is asked for. */
export function shellInside(init: ProcessIdentity, options: InsideOptions = {}): Shell {
  const { environment = {}, unset = [], cwd: folder = '/', network = 'private' } = options
  const namespaces = ['--mount', '--pid', ...(network === 'private' ? ['--net'] : [])]
  const enter = [...namespaces, '--', 'env', ...unset.map(name => `--unset=${name}`)]
  const inside = ({ cwd = folder, ...call }: CommandOptions) =>
    $({
      ...call,
      env: { ...zx.env, ...environment, ...call.env } as Record<string, string>,
      spawn: ((command: string, _: readonly string[], how: object) => {
        const words = ['--target', String(init.pid), ...enter, '--chdir', cwd, '/bin/sh', '-c', command]
        return spawn('nsenter', words, { ...how, cwd: '/', shell: false })
      }) as CommandOptions['spawn'],
    })
  return ((first: TemplateStringsArray | CommandOptions, ...values: unknown[]) =>
    Array.isArray(first) ? inside({})(first as never, ...values) : inside(first as CommandOptions)) as Shell
}

/** The error for a store whose sandbox is up. */
export async function inUse(store: Store): Promise<PlatformError> {
  const state = await livingSandbox(store)
  const who = state === undefined ? 'another process' : state.kept ? 'kept' : `of process ${state.runner.pid}`
  return new PlatformError(`The sandbox ${store.name} is up already (${who}${state ? `, since ${state.since}` : ''})`, {
    hint: state?.kept
      ? `task sandbox -- --name ${store.name} --enter   # or --end\ntask sandbox -- --name OTHER   # one more, with a store of its own`
      : 'task sandbox -- --name OTHER   # one more, with a store of its own',
  })
}

const unshareWords = [
  'unshare',
  '--net',
  '--mount',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
  ...['--propagation', 'private', 'bash'],
]

// every process of the sandbox inherits the lock, so the kernel frees it with the last of them
function lockWords(store: Store): string[] {
  return ['--nonblock', '--no-fork', '--conflict-exit-code', String(lockedExitCode), store.lockFile]
}

/** A sandbox whose runner is gone is about to end by itself; this waits for it, and helps. */
async function endOrphan(store: Store): Promise<void> {
  const state = await livingSandbox(store)
  if (state && (state.kept || (await isSame(state.runner)))) throw await inUse(store)
  if (state) await untilGone(state.init, endDeadlineMs)
  await removeLeftovers(store)
}

async function removeLeftovers(store: Store): Promise<void> {
  await forgetState(store)
  // the next start would remove them; a node's volume alone has 2 GB
  await rm(join(store.dataRoot, 'volumes'), { recursive: true, force: true })
  await $({
    nothrow: true,
  })`find /sys/fs/cgroup/${store.cgroup} /sys/fs/cgroup/*/${store.cgroup} -depth -type d -delete`
}

async function untilReady(child: Child): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`not ready after ${startDeadlineMs / 1000} s`)), startDeadlineMs)
    const settle = (done: () => void) => {
      clearTimeout(late)
      done()
    }
    child.once('error', error => settle(() => reject(error)))
    child.once('exit', code => settle(() => reject(new Error(`ended with exit code ${code}`))))
    createInterface(child.stdout).once('line', () => settle(resolve))
  })
}

async function untilGone(init: ProcessIdentity, timeoutMs: number): Promise<void> {
  const isGone = async () => ((await isSame(init)) ? new NotYet('it runs') : true)
  const late = () => new PlatformError(`The first process of the sandbox, ${init.pid}, does not end`)
  await waitFor(isGone, { timeoutMs, pauseMs: 50, onTimeout: late }).catch(async () => {
    // the kernel ends every process of a PID namespace with its first one
    process.kill(init.pid, 'SIGKILL')
    await waitFor(isGone, { timeoutMs: 5000, pauseMs: 50, onTimeout: late })
  })
}
