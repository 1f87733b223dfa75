import { rename } from 'node:fs/promises'
import { PlatformError } from '../system/errors.ts'
import { $, lastLines } from '../system/exec.ts'
import { exists } from '../system/files.ts'

/** Bytes on the disk of a folder and all in it; 0 for what is not there. */
export async function sizeOf(folder: string): Promise<number> {
  // a folder of Go modules has a hundred thousand files; some of it may go while it is counted
  const { stdout } = await $({ nothrow: true, timeout: '5m' })`du --summarize --block-size=1 ${folder}`
  return Number(/^\d+/.exec(stdout)?.[0] ?? 0)
}

/**
 * Removes a folder and all in it, also what is read-only, and returns the bytes that are free again. It is renamed first: nobody takes it for whole when
 * this is interrupted, and the next call removes what is left. Other work on this machine has priority.
 */
export async function removeFolder(folder: string): Promise<number> {
  const removed = `${folder}.removed`
  let bytes = await remove(removed)
  const isThere = await rename(folder, removed).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false
      throw error
    },
  )
  if (isThere) bytes += await remove(removed)
  return bytes
}

async function remove(folder: string): Promise<number> {
  if (!(await exists(folder))) return 0
  const bytes = await sizeOf(folder)
  // a hundred thousand files, beside a compiler
  const quietly = $({ nothrow: true, timeout: '30m' })
  // Go keeps its modules read-only, which stops everybody but root
  await quietly`nice -n 10 chmod --recursive u+w ${folder}`
  const { exitCode, stderr } = await quietly`nice -n 10 rm -rf ${folder}`
  if (exitCode !== 0) throw new PlatformError(`${folder} could not be removed`, { why: lastLines(stderr) })
  return bytes
}
