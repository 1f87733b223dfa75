import { join } from 'node:path'
import { pathsOf } from '../../lib/platform/settings.ts'
import { ensureBuilt } from '../../lib/supply/cache.ts'
import { messageOf } from '../../lib/system/errors.ts'
import { $ } from '../../lib/system/exec.ts'

/** The line of Node that most users have by now, as npm packages carry it. */
export const release = `node-linux-${process.arch}@24.21.0`

/** Folder of that Node's program, or why it cannot be had. It runs TypeScript by itself. */
export async function newerNode(): Promise<{ folder: string; skip: string | false }> {
  if (process.platform !== 'linux') return { folder: '', skip: 'only Linux has it as a package' }
  const build = async (folder: string) => {
    const archive = await $({ idle: '60s' })`npm pack ${release} --silent --pack-destination ${folder}`.text()
    await $`tar --extract --file ${join(folder, archive.trim())} --directory ${folder} --strip 1`
  }
  return ensureBuilt({ name: 'node', inputs: release, build }, { cacheDir: pathsOf().cacheDir }).then(
    folder => ({ folder: join(folder, 'bin'), skip: false as const }),
    error => ({ folder: '', skip: `${release} cannot be had: ${messageOf(error)}` }),
  )
}
