import { $, type Shell } from '../system/exec.ts'

/** What is said of a service whose disk is full, after what else is known of it. */
export const fullDisk = 'its log says that the disk is full'
export const fullDiskHint = 'docker system df   # shows what Docker keeps; docker system prune removes what is unused'

/** Whether these words of a program say that there is no space left. */
export function saysFull(text: string): boolean {
  return wordsForFull.test(text)
}

/** The words of the C library and of Go for ENOSPC, and MinIO's own. */
const wordsForFull = /no space left on device|minimum free drive threshold/i

/**
 * Which of these containers have written in the last two minutes that there was no space left. Asked of those that are not well: what a program
 * answers to its clients may not say why. One whose log cannot be had in time is not among them.
 */
export async function withFullDisk(containers: readonly string[], shell: Shell = $): Promise<Set<string>> {
  const logs = shell({ nothrow: true, timeout: '2s' })
  const found = await Promise.all(
    [...new Set(containers)].map(async name => {
      const said = await logs`docker logs --since 2m --tail 200 ${name}`.catch(() => undefined)
      return said && saysFull(said.stdout + said.stderr) ? [name] : []
    }),
  )
  return new Set(found.flat())
}
