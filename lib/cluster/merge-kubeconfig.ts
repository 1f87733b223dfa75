import { open, readFile, realpath, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { openJournal } from '../journal/journal.ts'
import { withContext } from '../journal/kubeconfig.ts'
import { describeUndone, isUndone } from '../journal/undo.ts'
import type { Platform } from '../platform/platform.ts'
import type { Paths } from '../platform/settings.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import { $ } from '../system/exec.ts'
import { exists } from '../system/files.ts'
import { asRoot } from '../system/privilege.ts'
import { waitFor } from '../system/wait.ts'
import { clusterOf } from './cluster.ts'

/** Journal scope of what was added to kubeconfigs of the user's. */
const scope = 'cluster/kubeconfig'

/**
 * Adds our context to the user's kubeconfig, and leaves their current context what it was. Only for those who asked for it. The change is in the
 * journal, for each file that was ever merged into: undo needs neither kubectl nor a cluster. Throws for a file that is not a kubeconfig.
 */
export async function mergeIntoUsers(
  platform: Platform,
  environment: NodeJS.ProcessEnv,
): Promise<'created' | 'updated' | 'unchanged'> {
  const named = usersFile(environment)
  // a link stays a link
  const file = await realpath(named).catch(() => named)
  const { context, name } = clusterOf(platform)
  const ours = await $`kind get kubeconfig --name ${name}`.text()
  return whileLocked(file, async () => {
    const before = (await exists(file)) ? await readFile(file, 'utf8') : ''
    const { mode, uid, gid } = await stat(file).catch(() => ({
      mode: 0o600,
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
    }))
    const options = { mode: mode & 0o7777, owner: { uid, gid }, block: { context } }
    // the file is the user's own, as this process is
    const journal = openJournal({ stateDir: platform.paths.stateDir, privilege: asRoot, scope })
    return journal.writeFile(file, merged(before, context, ours, file), options)
  })
}

/** Removes our context from every kubeconfig that --merge-kubeconfig added it to. Throws where one cannot be written. */
export async function removeFromUsers({ stateDir }: Pick<Paths, 'stateDir'>): Promise<'removed' | 'unchanged'> {
  const undone = await openJournal({ stateDir, privilege: asRoot, scope }).undo()
  const left = undone.filter(each => !isUndone(each))
  if (left.length > 0)
    throw new PlatformError('The context could not be removed from every kubeconfig', {
      why: left.map(each => `${each.what}: ${describeUndone(each)}`).join('\n'),
      hint: 'Remove it by hand: kubectl config delete-context',
    })
  return undone.some(({ outcome }) => outcome !== 'unchanged') ? 'removed' : 'unchanged'
}

/** The user's own kubeconfig that kubectl would write to. */
function usersFile(environment: NodeJS.ProcessEnv): string {
  return environment.KUBECONFIG?.split(':').filter(Boolean)[0] ?? join(homedir(), '.kube', 'config')
}

function merged(before: string, context: string, ours: string, file: string): string {
  try {
    return withContext(before, context, ours)
  } catch (error) {
    throw new PlatformError(`The context cannot be added to ${file}; nothing was changed`, {
      why: messageOf(error),
      hint: `kubectl --kubeconfig ${file} config view`,
    })
  }
}

/** Runs an action while no kubectl and no kind writes the file: they hold a file of this name beside it meanwhile. */
async function whileLocked<T>(file: string, action: () => Promise<T>): Promise<T> {
  const lock = `${file}.lock`
  const held = await waitFor(() => open(lock, 'wx').catch(without('ENOENT')), {
    timeoutMs: 10_000,
    onTimeout: () =>
      new PlatformError(`${file} is locked`, {
        why: `kubectl and kind hold ${lock} while they write`,
        hint: `If none of them runs, remove it: rm ${lock}`,
      }),
  })
  try {
    return await action()
  } finally {
    await held?.close()
    // without a folder there was nothing to lock, and nobody who could write
    if (held !== undefined) await rm(lock, { force: true })
  }
}

function without(code: string): (error: NodeJS.ErrnoException) => undefined {
  return error => {
    if (error.code !== code) throw error
  }
}
