import { chmod, lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, messageOf, PlatformError } from '../system/errors.ts'
import { ensureFolder, hintForWrite, requireTrusted } from '../system/files.ts'

/** Folders that only their owner may enter; containers get single files of `secrets` mounted. */
const closed: readonly string[] = ['secrets', 'tls']

/** Folders whose whole tree is mounted into containers, which run as many users. */
const open: readonly string[] = ['config']

/**
 * Creates the state folder, and brings the modes of its folders to what they have to be, whatever the umask was when they were created: `secrets`
 * and `tls` for their owner alone, everything below `config` open to read, nothing for others to write. Throws as requireStateFolder does.
 */
export async function ensureStateFolder(stateDir: string): Promise<void> {
  await ensureFolder(stateDir)
  for (const { path, mode, wanted } of await foldersOf(stateDir)) {
    if (mode === wanted) continue
    await chmod(path, wanted).catch(error => {
      throw new PlatformError(`The mode of ${path} cannot be set to ${wanted.toString(8)}`, {
        why: messageOf(error),
        hint: hintForWrite(error, path),
      })
    })
  }
}

/**
 * Throws where the state folder, or a folder in it, is a link or belongs to somebody else: what is written there would end up elsewhere, and what
 * is deleted there would not be ours. Changes nothing; a state folder that does not exist is fine.
 */
export async function requireStateFolder(stateDir: string): Promise<void> {
  await foldersOf(stateDir)
}

interface Folder {
  path: string
  mode: number
  wanted: number
}

async function foldersOf(stateDir: string): Promise<Folder[]> {
  const top = await look(stateDir, () => 0o755)
  if (top === undefined) return []
  if (top === 'file') throw new PlatformError(`${stateDir} is not a folder`, { hint: `ls -ld ${stateDir}` })
  const folders = [top]
  // another task may just have removed an empty one
  for (const name of await readdir(stateDir).catch(ifAbsent)) {
    const path = join(stateDir, name)
    const wanted = (mode: number) => (closed.includes(name) ? 0o700 : open.includes(name) ? 0o755 : mode & ~0o022)
    const found = await look(path, wanted)
    if (found === undefined || found === 'file') continue
    folders.push(found)
    if (open.includes(name)) folders.push(...(await openFoldersBelow(path)))
  }
  return folders
}

function ifAbsent(error: unknown): string[] {
  if (codeOf(error) === 'ENOENT') return []
  throw error
}

async function openFoldersBelow(folder: string): Promise<Folder[]> {
  const folders: Folder[] = []
  for (const name of await readdir(folder).catch(ifAbsent)) {
    const path = join(folder, name)
    const found = await look(path, () => 0o755)
    if (found !== undefined && found !== 'file') folders.push(found, ...(await openFoldersBelow(path)))
  }
  return folders
}

/** A folder with the mode it has and should have; undefined where nothing is there any more. Throws for a link and for somebody else's. One look: another task may create or remove it. */
async function look(path: string, wantedOf: (mode: number) => number): Promise<Folder | 'file' | undefined> {
  const stats = await lstat(path).catch(() => undefined)
  if (stats?.isSymbolicLink())
    throw new PlatformError(`${path} is a symbolic link, and the platform keeps secrets and deletes files there`, {
      hint: `Remove the link: rm ${path}\nTo keep the state folder elsewhere, set MACULA_STATE_DIR`,
    })
  if (stats === undefined) return undefined
  if (!stats.isDirectory()) return 'file'
  requireTrusted(path, stats, { writable: true })
  const mode = stats.mode & 0o7777
  return { path, mode, wanted: wantedOf(mode) }
}
