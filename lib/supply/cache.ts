import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, rename, rm, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { PlatformError } from '../system/errors.ts'
import { exists } from '../system/files.ts'
import { NotYet, waitFor } from '../system/wait.ts'

/** What a supplier of programs or images tells its caller while it works. */
export interface SupplyEvent {
  /** The program or image, as a person knows it. */
  what: string
  /** `queued`: it will be built in this run. `waiting`: somebody else builds the same, or all compile slots are taken. */
  state: 'queued' | 'waiting' | 'building' | 'ready' | 'failed'
  /** One short line: what happens right now, or where the finished thing came from. */
  detail: string
  /** For `queued`: the seconds that it takes alone on two processors. */
  work?: number
  /** For `ready`: how long it took; 0 when it was there already. */
  seconds?: number
}

export interface SupplyOptions {
  /** Folder outside the clone that keeps what was built; created when missing. */
  cacheDir: string
  report?: (event: SupplyEvent) => void
  /** Ends builds that run and keeps others from starting. */
  signal?: AbortSignal
}

export interface Build {
  /** Names the folder, together with a hash of `inputs`. */
  name: string
  /** All that decides what comes out; a change of any of it builds anew. */
  inputs: unknown
  /** Fills the (existing, empty) folder. */
  build: (folder: string, note: (detail: string) => void) => Promise<void>
}

/** Short name of everything that decides what is built: equal inputs, equal key. */
export function keyOf(inputs: unknown): string {
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 16)
}

function builtFolder(cacheDir: string, build: Pick<Build, 'name' | 'inputs'>): string {
  return join(cacheDir, 'built', folderName(build))
}

/** Name of a build's folder in the cache; equal for equal inputs, so that it can be part of another build's inputs. */
export function folderName({ name, inputs }: Pick<Build, 'name' | 'inputs'>): string {
  return `${name}-${keyOf(inputs)}`
}

/** Whether a run before has built this, so that it is there at once. */
export function isBuilt(build: Pick<Build, 'name' | 'inputs'>, { cacheDir }: SupplyOptions): Promise<boolean> {
  return exists(builtFolder(cacheDir, build))
}

/**
 * The folder with what `build` makes: found in the cache, or built now and moved there in one step, so that a folder which is there is complete.
 * Two processes that want the same build it once; the second waits for the first.
 */
export async function ensureBuilt(
  build: Build,
  { cacheDir, report = () => {}, signal }: SupplyOptions,
): Promise<string> {
  const folder = builtFolder(cacheDir, build)
  const ready = (detail: string, seconds: number) => {
    report({ what: build.name, state: 'ready', detail, seconds })
    return folder
  }
  // tells that somebody still needs it, whatever time an unpacked package gave its folder
  const touch = (path: string) => utimes(path, new Date(), new Date())
  if (await exists(folder)) {
    await touch(folder)
    return ready('from the cache', 0)
  }
  const waiting = () => report({ what: build.name, state: 'waiting', detail: 'another process builds it' })
  return withLock(join(cacheDir, 'locks', build.name), waiting, async () => {
    if (await exists(folder)) return ready('from the cache', 0)
    signal?.throwIfAborted()
    const started = Date.now()
    const unfinished = `${folder}.unfinished`
    // left over from a builder that was killed: we hold the lock, so nobody is writing there
    await rm(unfinished, { recursive: true, force: true })
    await mkdir(unfinished, { recursive: true })
    try {
      await build.build(unfinished, detail => report({ what: build.name, state: 'building', detail }))
    } catch (error) {
      await rm(unfinished, { recursive: true, force: true })
      report({ what: build.name, state: 'failed', detail: 'failed' })
      throw error
    }
    await touch(unfinished)
    await rename(unfinished, folder)
    return ready('built', (Date.now() - started) / 1000)
  })
}

/**
 * Does `action` while this process holds the lock `file`; `waiting` is called once if somebody else holds it.
 * The kernel holds the lock for a child of ours that ends with us, so no crash leaves a lock behind.
 */
export async function withLock<T>(file: string, waiting: () => void, action: () => Promise<T>): Promise<T> {
  const release = (await lock(file, true)) ?? (await waitForLock(file, waiting))
  try {
    return await action()
  } finally {
    release()
  }
}

/** The first of several locks that is free, tried once a second: for `count` things at a time over all processes. */
export async function withOneOf<T>(
  files: readonly string[],
  waiting: () => void,
  action: () => Promise<T>,
): Promise<T> {
  const firstFree = async () => {
    for (const file of files) {
      const release = await lock(file, true)
      if (release) return release
    }
    return undefined
  }
  let release = await firstFree()
  if (!release) waiting()
  release ??= await waitFor(async () => (await firstFree()) ?? new NotYet('all are taken'), {
    timeoutMs: longestWaitMs,
    pauseMs: 1000,
    onTimeout: () => new PlatformError(`Other builds have held ${files.join(' and ')} for a day`, { hint: 'ps aux' }),
  })
  try {
    return await action()
  } finally {
    release()
  }
}

/** Does `action` while this process holds all of these locks; undefined, and nothing is done, where somebody else holds one of them. */
export async function withAll<T>(files: readonly string[], action: () => Promise<T>): Promise<T | undefined> {
  const held: (() => void)[] = []
  try {
    for (const file of files) {
      const release = await lock(file, true)
      if (!release) return undefined
      held.push(release)
    }
    return await action()
  } finally {
    for (const release of held) release()
  }
}

/** Longer than anything that is built here, and than anybody waits for it. */
const longestWaitMs = 24 * 3600 * 1000

async function waitForLock(file: string, waiting: () => void): Promise<() => void> {
  waiting()
  const release = await lock(file, false)
  if (!release) throw new PlatformError(`The lock ${file} could not be taken`, { hint: `rm ${file}` })
  return release
}

async function lock(file: string, onlyIfFree: boolean): Promise<(() => void) | undefined> {
  await mkdir(dirname(file), { recursive: true })
  const holder = ['sh', '-c', 'echo held; exec cat']
  // a session of its own: Ctrl-C at the terminal must not free the lock before we have stopped working
  const child = spawn('flock', [...(onlyIfFree ? ['--nonblock'] : []), file, ...holder], {
    stdio: ['pipe', 'pipe', 'ignore'],
    detached: true,
  })
  const held = await new Promise<boolean>((resolve, reject) => {
    child.once('error', error =>
      reject(
        new PlatformError('flock is needed to share the build cache', {
          why: error.message,
          hint: 'apt-get install util-linux',
        }),
      ),
    )
    child.once('exit', () => resolve(false))
    createInterface(child.stdout).once('line', () => resolve(true))
  })
  return held ? () => child.stdin.end() : undefined
}
