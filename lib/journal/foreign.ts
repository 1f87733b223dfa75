import { readFile } from 'node:fs/promises'
import { isOfPlatform, type Owner, ownerIn } from '../platform/owner.ts'
import { PlatformError } from '../system/errors.ts'
import { counted } from '../system/text.ts'
import { journalFile } from './journal-file.ts'

/** Something at a name of ours that this installation did not make. */
export interface Foreign {
  /** Its path, or the process. */
  what: string
  /** Undefined for what an earlier release wrote: it named nobody. */
  owner: Owner | undefined
  /** It names this checkout's own path: what is left after `git clean`, or from an earlier release. `--adopt` takes it over. */
  isAdoptable: boolean
}

/**
 * Which of these files another installation wrote, or an earlier release that is not in our journal. Files that the platform did not write are
 * none of it: the journal puts them back as they were. `root` is the folder of this checkout.
 */
export async function foreignFiles(paths: readonly string[], us: Owner, root: string): Promise<Foreign[]> {
  const written = new Set(
    (await journalFile(us.stateDir).read()).flatMap(record => (record.kind === 'path' ? [record.path] : [])),
  )
  const found = await Promise.all(paths.map(async path => ({ path, text: await textOf(path) })))
  return found.flatMap(({ path, text }) => {
    const owner = ownerIn(text)
    const isOurs = owner === undefined ? !isOfPlatform(text) || written.has(path) : owner.id === us.id
    if (isOurs) return []
    const names = (folder: string) => text.includes(folder) || text.includes(encodeURI(folder))
    const isAdoptable = owner === undefined ? names(us.stateDir) || names(root) : owner.stateDir === us.stateDir
    return [{ what: path, owner, isAdoptable }]
  })
}

/** Throws where something is not ours; with `adopt` what carries this checkout's path may be. Changes nothing. */
export function requireOurs(foreign: readonly Foreign[], { adopt, task }: { adopt: boolean; task: string }): void {
  const refused = foreign.filter(({ isAdoptable }) => !(adopt && isAdoptable))
  if (refused.length === 0) return
  throw new PlatformError(describeForeign(refused), {
    why: refused.map(each => `${each.what}: ${whose(each)}`).join('\n'),
    hint: waysOut(refused, task),
  })
}

/** What is wrong, in one line. */
export function describeForeign(foreign: readonly Foreign[]): string {
  const folders = new Set(foreign.map(({ owner }) => owner?.stateDir))
  const [folder] = folders
  const things = counted(foreign.length, 'thing')
  return folders.size === 1 && folder !== undefined
    ? `Another installation of the platform is on this machine, in ${folder}: ${things} that this one needs`
    : `Other installations of the platform are on this machine: ${things} that this one needs`
}

/** What to do about it: remove theirs, or take over what was ours. */
export function waysOut(foreign: readonly Foreign[], task: string): string {
  const adoptable = foreign.some(({ isAdoptable }) => isAdoptable)
  const folders = [
    ...new Set(foreign.flatMap(({ owner, isAdoptable }) => (owner && !isAdoptable ? owner.stateDir : []))),
  ]
  const nameless = foreign.filter(({ owner, isAdoptable }) => owner === undefined && !isAdoptable)
  return [
    ...(adoptable ? [`Take over what this checkout made before: task ${task} -- --adopt`] : []),
    ...folders.map(folder => `Remove theirs: task teardown in the checkout with the state folder ${folder}`),
    ...(nameless.length === 0
      ? []
      : [
          'Remove what an earlier release left: task teardown in the checkout that made it, or, where that is gone, as root:',
          `rm ${nameless.map(({ what }) => what).join(' ')}`,
        ]),
  ].join('\n')
}

function whose({ owner }: Foreign): string {
  return owner === undefined
    ? 'of an earlier release, not in our journal'
    : `of installation ${owner.id} in ${owner.stateDir}`
}

async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '') // not there, or not ours to read
}
