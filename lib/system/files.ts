import { lstat, readFile, readlink, stat } from 'node:fs/promises'
import { messageOf, PlatformError } from './errors.ts'
import { failure } from './exec.ts'
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

/** Whether something is there; a link that leads nowhere is not. */
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

/** The temporary file beside a path that is being written; one name per path, so that whoever comes after a crash finds it. */
export function temporaryOf(path: string): string {
  return `${path}.macula-new`
}

// In order: a complete file beside the old one, then one rename, so that readers see the old or the new. A file that is a mount point
// of its own (Docker's /etc/resolv.conf) refuses the rename and is written in place. SELinux wants its label back.
const writeScript = `set -eu
umask 077
cat > "$2"
chown "$4" "$2"
chmod "$3" "$2"
if awk -v p="$1" '$5 == p { found = 1 } END { exit !found }' /proc/self/mountinfo 2>/dev/null; then
  cat "$2" > "$1"
  chown "$4" "$1"
  chmod "$3" "$1"
  rm -f "$2"
else
  mv -f "$2" "$1"
fi
if command -v restorecon >/dev/null 2>&1; then restorecon "$1" || true; fi`

const linkScript = `set -eu
ln -sfn "$3" "$2"
mv -f "$2" "$1"`

/** Brings a path into a state, as root: atomically, or in place where a mount forbids it. Throws with the tool's words. */
export async function setState(path: string, state: PathState, { ask }: Privilege): Promise<void> {
  const temporary = temporaryOf(path)
  const command = commandFor()
  const result = await ask(command, state.kind === 'file' ? { input: Buffer.from(state.content, 'base64') } : {})
  if (result.exitCode === 0) return
  await ask(['rm', '-f', temporary])
  throw new PlatformError(`${path} could not be ${state.kind === 'absent' ? 'removed' : 'written'}`, {
    why: result.stderr.trim() || failure(command.slice(0, 1), result).message,
    hint: `Look for a read-only file system, or an immutable file: lsattr ${path}`,
  })

  function commandFor(): string[] {
    switch (state.kind) {
      case 'file':
        return ['sh', '-c', writeScript, 'write', path, temporary, state.mode.toString(8), `${state.uid}:${state.gid}`]
      case 'link':
        return ['sh', '-c', linkScript, 'link', path, temporary, state.target]
      case 'absent':
        return ['rm', '-f', path, temporary]
      case 'directory':
        return ['mkdir', '-p', '-m', '0755', path]
      case 'other':
        throw new PlatformError(`${path} is neither a file nor a link`, { hint: `ls -ld ${path}` })
    }
  }
}

// opening for appending, without writing, is refused for an immutable file and leaves any other as it is
const writableScript = `folder="$1"
while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
[ -w "$folder" ] || { echo "$folder is not writable (a read-only file system?)" >&2; exit 1; }
[ -h "$1" ] || [ ! -f "$1" ] || : >> "$1"`

/** Throws where a file could not be written even by root: immutable, or on a read-only file system. Changes nothing. */
export async function requireWritable(path: string, { ask }: Privilege): Promise<void> {
  const { exitCode, stderr } = await ask(['sh', '-c', writableScript, 'check', path])
  if (exitCode === 0) return
  throw new PlatformError(`${path} cannot be changed on this machine; nothing was changed`, {
    why: stderr.trim(),
    hint: `lsattr ${path}   # an i means immutable: chattr -i ${path}`,
  })
}
