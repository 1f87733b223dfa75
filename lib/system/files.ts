import { randomBytes } from 'node:crypto'
import { type Stats, statSync } from 'node:fs'
import { chmod, lstat, mkdir, open, readdir, readFile, readlink, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { root } from './checkout.ts'
import { messageOf, PlatformError } from './errors.ts'
import { type Command, failureOf, type Shell } from './exec.ts'
import type { Privilege } from './privilege.ts'

export interface RegularFile {
  kind: 'file'
  /** base64 */
  content: string
  /** Permission bits. */
  mode: number
  uid: number
  gid: number
}

/** All of a path that we put back: what it is, its bytes or target, its mode and owner. */
export type PathState =
  | { kind: 'absent' }
  | RegularFile
  | { kind: 'link'; target: string }
  | { kind: 'directory' }
  | { kind: 'other' }

/** Whether something is there; a dangling link is not. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

/** The first of several paths that is there; undefined for none. */
export async function firstThatExists(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await exists(path)) return path
  return undefined
}

/** What stands at a path now, links not followed. Throws where it may not be read. */
export async function stateOf(path: string): Promise<PathState> {
  try {
    const stats = await lstat(path)
    if (stats.isSymbolicLink()) return { kind: 'link', target: await readlink(path) }
    if (stats.isDirectory()) return { kind: 'directory' }
    if (!stats.isFile()) return { kind: 'other' }
    const content = (await readFile(path)).toString('base64')
    return { kind: 'file', content, mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid }
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return { kind: 'absent' }
    throw new PlatformError(`${path} cannot be read`, { why: messageOf(error) })
  }
}

/** Whether two states are the same in every field that we put back. */
export function sameState(one: PathState, other: PathState): boolean {
  if (one.kind === 'file' && other.kind === 'file') {
    return one.content === other.content && one.mode === other.mode && one.uid === other.uid && one.gid === other.gid
  }
  if (one.kind === 'link' && other.kind === 'link') return one.target === other.target
  return one.kind === other.kind
}

export interface WriteOptions {
  /** Permission bits, whatever the umask. */
  mode: number
  /** Default: the user that runs this. */
  owner?: { uid: number; gid: number }
}

/**
 * Writes a file in one step: readers see the old content or the new, never half of it, and after a crash the one or the other is on the disk.
 * The temporary file beside it has a random name and is created exclusively, so that nobody can plant a link under it. A link at `path` is
 * replaced, not followed. Throws with the path where the system refuses (permissions, a read-only or full file system); the old file stays then.
 */
export async function replaceFile(
  path: string,
  content: string | Buffer,
  { mode, owner }: WriteOptions,
): Promise<void> {
  const temporary = `${temporaryPrefix(path)}${process.pid}-${randomBytes(6).toString('hex')}`
  try {
    for (const leftover of await leftoversOf(path)) await rm(leftover, { force: true })
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(content)
      if (owner) await file.chown(owner.uid, owner.gid)
      await file.chmod(mode)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw new PlatformError(`${path} cannot be written`, { why: messageOf(error), hint: hintForWrite(error, path) })
  }
}

/** Creates a folder, and those above it that are missing, each with this mode whatever the umask. Those that exist stay as they are. */
export async function ensureFolder(path: string, mode = 0o755): Promise<void> {
  try {
    const made: string[] = []
    for (let folder = path; !(await exists(folder)); folder = dirname(folder)) made.unshift(folder)
    for (const folder of made) {
      await mkdir(folder, { mode }).catch(error => {
        // another task was first
        if (error.code !== 'EEXIST') throw error
      })
      await chmod(folder, mode)
    }
  } catch (error) {
    throw new PlatformError(`The folder ${path} cannot be created`, {
      why: messageOf(error),
      hint: hintForWrite(error, dirname(path)),
    })
  }
}

/** What a person can do about a refused write. */
export function hintForWrite(error: unknown, path: string): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOSPC' || code === 'EDQUOT') return `Make room on that file system: df -h ${dirname(path)}`
  if (code === 'EROFS') return `That file system is mounted read-only: findmnt --target ${dirname(path)}`
  return `ls -ld ${dirname(path)} ${path}; lsattr -d ${path}`
}

/**
 * Throws where a file or folder belongs to somebody whom we have no reason to trust, or can be written by others. Trusted are this user and
 * root; for root also the owner of this checkout, whose code it is running anyway. `writable`: a mode that lets others write is corrected by the caller.
 */
export function requireTrusted(path: string, stats: Stats, { writable = false } = {}): void {
  const us = process.geteuid?.() ?? stats.uid
  const trusted = [0, us, ...(us === 0 ? [statSync(root).uid] : [])]
  if (!trusted.includes(stats.uid))
    throw new PlatformError(`${path} belongs to somebody else, so it is not used`, {
      why: `Its owner has the user id ${stats.uid}, this user has ${us}`,
      hint: `ls -ld ${path}`,
    })
  if (!writable && (stats.mode & 0o022) !== 0)
    throw new PlatformError(`${path} can be written by others, so it is not used`, {
      why: `Its mode is ${(stats.mode & 0o7777).toString(8)}: anybody could have changed it`,
      hint: `Read it, and if nobody has: chmod go-w ${path}`,
    })
}

/** Temporary files beside a path are called this, then the pid of their writer and something random. */
function temporaryPrefix(path: string): string {
  return join(dirname(path), `.${basename(path)}.macula-`)
}

/** Removes, as root, the temporary files that a killed run left beside a path. */
export async function removeLeftovers(path: string, { $ }: Privilege): Promise<void> {
  const leftovers = await leftoversOf(path)
  if (leftovers.length > 0) await $`rm -f -- ${leftovers}`
}

/** Temporary files beside a path whose writer was killed; those of a writer that lives are still being written. */
async function leftoversOf(path: string): Promise<string[]> {
  const prefix = basename(temporaryPrefix(path))
  const names = await readdir(dirname(path)).catch(() => [])
  return names
    .filter(name => name.startsWith(prefix))
    .filter(name => {
      const pid = /^(\d+)-\w+$/.exec(name.slice(prefix.length))?.[1]
      return pid !== undefined && !isAlive(Number(pid))
    })
    .map(name => join(dirname(path), name))
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // another user's process
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

// In order: a complete file beside the old one, then one rename, so that readers see the old or the new. Input that was cut off, because the
// task was killed, is no content. A file that is a mount point of its own (Docker's /etc/resolv.conf) refuses the rename and is written in
// place. `mv` would move into the folder that a link points to. SELinux wants its label back.
const prepareScript = `set -eu
umask 077
temporary=
trap '[ -z "$temporary" ] || rm -f "$temporary"' EXIT
temporary=$(mktemp "$2$$-XXXXXXXX")
finish() {
  if [ -L "$1" ] && [ -d "$1" ]; then rm -f "$1"; fi
  [ ! -d "$1" ] || { echo 'a folder has that name' >&2; exit 1; }
  mv -f "$temporary" "$1"
}`

const writeScript = `${prepareScript}
cat > "$temporary"
[ "$(wc -c < "$temporary")" -eq "$5" ] || { echo 'the task that was writing it has ended' >&2; exit 1; }
chown "$4" "$temporary"
chmod "$3" "$temporary"
if awk -v p="$1" '$5 == p { found = 1 } END { exit !found }' /proc/self/mountinfo 2>/dev/null; then
  cat "$temporary" > "$1"
  chown "$4" "$1"
  chmod "$3" "$1"
else
  finish "$1"
fi
if command -v restorecon >/dev/null 2>&1; then restorecon "$1" || true; fi`

const linkScript = `${prepareScript}
ln -sfn "$3" "$temporary"
finish "$1"`

/** Brings a path into a state, as root: atomically, or in place where a mount forbids it. Throws with the tool's words. */
export async function setState(path: string, state: PathState, privilege: Privilege): Promise<void> {
  await removeLeftovers(path, privilege)
  const result = await start(path, state, privilege.$)
  if (result.exitCode === 0) return
  throw new PlatformError(`${path} could not be ${state.kind === 'absent' ? 'removed' : 'written'}`, {
    why: result.stderr.trim() || failureOf('sh', result).message,
    hint: `Look for a read-only file system, or an immutable file: lsattr ${path}`,
  })
}

function start(path: string, state: PathState, shell: Shell): Command {
  const $ = shell({ nothrow: true })
  const prefix = temporaryPrefix(path)
  switch (state.kind) {
    case 'file': {
      const input = Buffer.from(state.content, 'base64')
      const [mode, owner] = [state.mode.toString(8), `${state.uid}:${state.gid}`]
      return shell({
        nothrow: true,
        input,
      })`sh -c ${writeScript} write ${path} ${prefix} ${mode} ${owner} ${input.length}`
    }
    case 'link':
      return $`sh -c ${linkScript} link ${path} ${prefix} ${state.target}`
    case 'absent':
      return $`rm -f ${path}`
    case 'directory':
      return $`mkdir -p -m 0755 ${path}`
    case 'other':
      throw new PlatformError(`${path} is neither a file nor a link`, { hint: `ls -ld ${path}` })
  }
}

// opening for appending, without writing, is refused for an immutable file and leaves any other as it is
const writableScript = `folder="$1"
while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
[ -w "$folder" ] || { echo "$folder is not writable (a read-only file system?)" >&2; exit 1; }
[ -h "$1" ] || [ ! -f "$1" ] || : >> "$1"`

/** Throws where a file could not be written even by root: immutable, or on a read-only file system. Changes nothing. */
export async function requireWritable(path: string, { $ }: Privilege): Promise<void> {
  const { exitCode, stderr } = await $({ nothrow: true })`sh -c ${writableScript} check ${path}`
  if (exitCode === 0) return
  throw new PlatformError(`${path} cannot be changed on this machine; nothing was changed`, {
    why: stderr.trim(),
    hint: `lsattr ${path}   # an i means immutable: chattr -i ${path}`,
  })
}

/** Path and content of every file under `folder`, in a fixed order, for whoever has to know whether any of it has changed. */
export async function contentsOf(folder: string): Promise<[string, string][]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
  return Promise.all(
    files
      .sort()
      .map(async (file): Promise<[string, string]> => [file.slice(folder.length + 1), await readFile(file, 'utf8')]),
  )
}
