import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type PathState, stateOf } from '../../lib/system/files.ts'
import { run } from './run.ts'

/** An /etc of one's own, over the machine's: for a process in a mount namespace of its own. */
export interface OwnEtc {
  /** Throws away all changes. */
  reset(): Promise<void>
  /** Every path below /etc with its bytes, mode and owner. */
  state(): Promise<Map<string, PathState>>
  remove(): Promise<void>
}

/** Puts memory over /etc and /run. Call it in a private mount namespace only. */
export async function ownEtc(): Promise<OwnEtc> {
  const scratch = await mkdtemp(join(tmpdir(), 'macula-etc-'))
  await run(['mount', '-t', 'tmpfs', 'scratch', scratch])
  await run(['mount', '-t', 'tmpfs', 'run', '/run'])
  let round = 0
  const etc: OwnEtc = {
    async reset() {
      if (round > 0) await run(['umount', '--lazy', '/etc'])
      round += 1
      const [upper, work] = [join(scratch, `upper${round}`), join(scratch, `work${round}`)]
      await mkdir(upper, { mode: 0o755 })
      await mkdir(work)
      const layers = `lowerdir=/etc,upperdir=${upper},workdir=${work}`
      await run(['mount', '-t', 'overlay', 'overlay', '-o', layers, '/etc'])
    },
    async state() {
      const paths = await readdir('/etc', { recursive: true })
      return new Map(await Promise.all(paths.map(async path => [path, await stateOf(join('/etc', path))] as const)))
    },
    async remove() {
      await run(['umount', '--lazy', '/etc'])
      await run(['umount', '--lazy', scratch])
      await rm(scratch, { recursive: true, force: true })
    },
  }
  await etc.reset()
  return etc
}
