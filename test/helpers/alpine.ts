import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { hasTool } from '../../lib/system/exec.ts'
import { run } from './run.ts'

/**
 * A folder to put first in PATH: `sh` and all its tools as the images out of Alpine have them, which differ from a machine's own in more than their
 * options (`kill -0 ''` is no error there). Empty where this machine has no busybox; then its own tools have to do.
 */
export async function alpineTools(): Promise<string> {
  if (!(await hasTool('busybox'))) return ''
  const folder = await mkdtemp(join(tmpdir(), 'macula-alpine-'))
  after(() => rm(folder, { recursive: true, force: true }))
  await run(['busybox', '--install', '-s', folder])
  return `${folder}:`
}
