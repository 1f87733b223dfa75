import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { keyOf } from '../supply/cache.ts'
import { badInput } from '../system/errors.ts'
import { ensureFolder, replaceFile } from '../system/files.ts'
import { isSame, type ProcessIdentity } from '../system/processes.ts'

/** What a sandbox of one name keeps between runs, and how it is found again. */
export interface Store {
  name: string
  folder: string
  /** The engine's images and layers. */
  dataRoot: string
  /** What the first process and the engine said in the latest run. */
  initLog: string
  engineLog: string
  /** Held by the kernel as long as a process of the sandbox lives. */
  lockFile: string
  stateFile: string
  /** The cgroup below which the engine puts its containers. */
  cgroup: string
}

/** A sandbox that is up, or was when its runner was killed. */
export interface SandboxState {
  /** First process of the sandbox, as the machine sees it. */
  init: ProcessIdentity
  /** The process that brought it up. */
  runner: ProcessIdentity
  since: string
  /** It stays up without its runner. */
  kept: boolean
  /** Variables for a command inside, on top of the caller's own. */
  environment: Record<string, string>
}

/** The store of sandbox `name` (letters, digits, `-`). Throws for any other name: it becomes a folder and a cgroup. */
export function storeOf(cacheDir: string, name: string): Store {
  if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(name)) {
    throw badInput('The sandbox cannot have this name', [
      { where: '--name', what: `${JSON.stringify(name)} should be lower case letters, digits and -, at most 32` },
    ])
  }
  const folder = join(cacheDir, 'sandbox', name)
  return {
    name,
    folder,
    dataRoot: join(folder, 'engine'),
    initLog: join(folder, 'init.log'),
    engineLog: join(folder, 'engine.log'),
    lockFile: join(folder, 'lock'),
    stateFile: join(folder, 'state.json'),
    // of the same name in another cache, there may be one beside it
    cgroup: `macula-sandbox-${name}-${keyOf(folder).slice(0, 8)}`,
  }
}

/** The sandbox of this store that lives; undefined when there is none. */
export async function livingSandbox(store: Store): Promise<SandboxState | undefined> {
  const text = await readFile(store.stateFile, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const state = JSON.parse(text) as SandboxState
  return (await isSame(state.init)) ? state : undefined
}

export async function writeState(store: Store, state: SandboxState): Promise<void> {
  await ensureFolder(store.folder)
  await replaceFile(store.stateFile, JSON.stringify(state, null, 2), { mode: 0o600 })
}

export async function forgetState(store: Store): Promise<void> {
  await rm(store.stateFile, { force: true })
}
