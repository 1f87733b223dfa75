import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, PlatformError } from '../system/errors.ts'
import { replaceFile } from '../system/files.ts'
import { inOrder } from '../system/in-order.ts'
import type { Paths } from './settings.ts'
import { ensureStateFolder } from './state-folder.ts'

/** What containers, networks and volumes that we create are labelled with; its value is the id of the installation. */
export const installationLabel = 'io.macula.installation'

/** What can be recorded as ours because it takes no label, or was there before we took it over. */
export type OwnedKind = 'container' | 'network' | 'volume' | 'node' | 'unit' | 'process'

/** One installation of the platform: a state folder. A name proves nothing, since anybody's project may have it; the id does. */
export interface Installation {
  /** Twelve random hex digits, made once. */
  readonly id: string
  /** Ids that this state folder had before it took over others; what is labelled with one is ours, too. */
  readonly former?: readonly string[]
  /** Ids as whoever records a kind writes them: an engine's id, or a name with something that tells it from a later one of that name. */
  readonly owned: Readonly<Partial<Record<OwnedKind, readonly string[]>>>
}

type StateFolder = Pick<Paths, 'stateDir'>

/** The file that makes a state folder an installation; teardown keeps it for as long as it keeps volumes. */
export function installationFile({ stateDir }: StateFolder): string {
  return join(stateDir, 'installation.json')
}

/** The installation of this state folder; undefined where nothing was created from it yet. Throws for a file that cannot be read. */
export async function readInstallation(paths: StateFolder): Promise<Installation | undefined> {
  const path = installationFile(paths)
  const text = await readFile(path, 'utf8').catch(error => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
    throw new PlatformError(`${path} cannot be read`, { why: error.message, hint: `ls -l ${path}` })
  })
  if (text === undefined) return undefined
  try {
    return checked(JSON.parse(text))
  } catch (error) {
    throw new PlatformError(`${path} is damaged`, {
      why: `${messageOf(error)}. It says what on this machine is ours, so nothing was changed.`,
      hint: `Restore it from a backup. Without one, move it away and take over what is left: task start-infrastructure -- --adopt`,
    })
  }
}

/** The installation of this state folder, made where there is none; for tasks that are about to create something. */
export function ensureInstallation(paths: StateFolder): Promise<Installation> {
  return inOrder(installationFile(paths), () => readOrMake(paths))
}

// tasks that run at once in this process must not each make an id, or lose what another records
async function readOrMake(paths: StateFolder): Promise<Installation> {
  const known = await readInstallation(paths)
  if (known !== undefined) return known
  return writeInstallation(paths, { id: randomBytes(6).toString('hex'), owned: {} })
}

/** Makes an id that was found on containers of this state folder its id again, as after `git clean`. */
export function restoreInstallation(paths: StateFolder, id: string): Promise<Installation> {
  return inOrder(installationFile(paths), async () => {
    const known = await readInstallation(paths)
    if (known === undefined) return writeInstallation(paths, checked({ id, owned: {} }))
    if (isOurId(known, id)) return known
    return writeInstallation(paths, checked({ ...known, id, former: [...(known.former ?? []), known.id] }))
  })
}

/** Records things as ours, before they are changed or right after they were created. */
export async function recordOwned(paths: StateFolder, kind: OwnedKind, ids: readonly string[]): Promise<Installation> {
  return change(paths, kind, known => [...new Set([...known, ...ids])])
}

/** Forgets things that were removed. */
export async function forgetOwned(paths: StateFolder, kind: OwnedKind, ids: readonly string[]): Promise<Installation> {
  return change(paths, kind, known => known.filter(id => !ids.includes(id)))
}

/** Whether a label's value is the id of this installation. */
export function isOurId(installation: Installation | undefined, id: string): boolean {
  return installation !== undefined && (installation.id === id || (installation.former?.includes(id) ?? false))
}

/** Whether something is recorded as ours; nothing is where there is no installation. */
export function isRecorded(installation: Installation | undefined, kind: OwnedKind, id: string): boolean {
  return installation?.owned[kind]?.includes(id) ?? false
}

function change(
  paths: StateFolder,
  kind: OwnedKind,
  edit: (known: readonly string[]) => readonly string[],
): Promise<Installation> {
  return inOrder(installationFile(paths), async () => {
    const installation = await readOrMake(paths)
    const before = installation.owned[kind] ?? []
    const after = edit(before)
    if (after.length === before.length && after.every(id => before.includes(id))) return installation
    return writeInstallation(paths, { ...installation, owned: { ...installation.owned, [kind]: after } })
  })
}

async function writeInstallation(paths: StateFolder, installation: Installation): Promise<Installation> {
  await ensureStateFolder(paths.stateDir)
  await replaceFile(installationFile(paths), `${JSON.stringify(installation, null, 2)}\n`, { mode: 0o644 })
  return installation
}

function checked(value: unknown): Installation {
  const { id, owned = {}, former = [] } = (value ?? {}) as { id?: unknown; owned?: unknown; former?: unknown }
  const isId = (text: unknown) => typeof text === 'string' && /^[0-9a-f]{12}$/.test(text)
  if (!isId(id) || !Array.isArray(former) || !former.every(isId)) throw new Error('its id should be 12 hex digits')
  const lists = typeof owned === 'object' && owned !== null ? Object.values(owned) : [undefined]
  const areIds = lists.every(list => Array.isArray(list) && list.every(each => typeof each === 'string'))
  if (!areIds) throw new Error('`owned` should be lists of ids')
  return { id: id as string, owned: owned as Installation['owned'], ...(former.length > 0 ? { former } : {}) }
}
