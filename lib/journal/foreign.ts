import { readFile } from 'node:fs/promises'
import { isMadeByHand, isOfPlatform, isUs, type Owner, ownerIn } from '../platform/owner.ts'
import { PlatformError } from '../system/errors.ts'
import { counted } from '../system/text.ts'
import { journalFile } from './journal-file.ts'

/** Something at a name of ours that the journal of this installation does not have. */
export interface Foreign {
  /** Its path, or the process. */
  what: string
  /** Undefined for what an earlier release made: it named nobody. */
  owner: Owner | undefined
  /**
   * `lost`: it has our id, the journal is gone. `adoptable`: it names this checkout's own path, as after `git clean` or from an earlier release;
   * `--adopt` takes it over. `foreign`: another installation's.
   */
  state: 'lost' | 'adoptable' | 'foreign'
}

/**
 * Which of these files the platform wrote, and not as our journal has it. Files of anybody else are not among them: the journal puts those back
 * as they were. `root` is the folder of this checkout.
 */
export async function foreignFiles(paths: readonly string[], us: Owner, root: string): Promise<Foreign[]> {
  const recorded = new Set(
    (await journalFile(us.stateDir).read()).flatMap(record => (record.kind === 'path' ? [record.path] : [])),
  )
  const found = await Promise.all(paths.map(async path => ({ path, text: await textOf(path) })))
  return found.flatMap(({ path, text }): Foreign[] => {
    const owner = ownerIn(text)
    const isOurs = owner === undefined ? !isOfPlatform(text) || recorded.has(path) : isUs(us, owner)
    if (isOurs && (owner === undefined || recorded.has(path))) return []
    if (owner && isMadeByHand(us, owner)) return []
    const names = (folder: string) => text.includes(folder) || text.includes(encodeURI(folder))
    const isAdoptable = owner === undefined ? names(us.stateDir) || names(root) : owner.stateDir === us.stateDir
    return [{ what: path, owner, state: isOurs ? 'lost' : isAdoptable ? 'adoptable' : 'foreign' }]
  })
}

/** Throws where something is not ours; with `adopt` what carries this checkout's path may be. Changes nothing. */
export function requireOurs(found: readonly Foreign[], { adopt, task }: { adopt: boolean; task: string }): void {
  const refused = found.filter(({ state }) => state === 'foreign' || (state === 'adoptable' && !adopt))
  if (refused.length > 0) throw foreignError(refused, task)
}

/** The error that names what is not ours, with the ways out: remove theirs, or take over what this checkout made. */
export function foreignError(refused: readonly Foreign[], task: string): PlatformError {
  const foreign = refused.filter(({ state }) => state === 'foreign')
  const folders = [...new Set(foreign.flatMap(({ owner }) => owner?.stateDir ?? []))]
  const nameless = foreign.filter(({ owner }) => owner === undefined).map(({ what }) => what)
  const things = `${counted(refused.length, 'file or process', 'files or processes')} that this one needs`
  return new PlatformError(
    foreign.length === 0
      ? `This checkout set up ${counted(refused.length, 'file or process', 'files or processes')} before it had its present id`
      : folders.length === 1 && nameless.length === 0
        ? `Another installation of the platform, in ${folders[0]}, has ${things}`
        : `Other installations of the platform have ${things}`,
    {
      why: refused.map(each => `${each.what}: ${whose(each)}`).join('\n'),
      hint: [
        ...folders.map(folder => `Remove theirs: task teardown, in the checkout whose state folder is ${folder}`),
        ...(nameless.length === 0
          ? []
          : [
              'Remove what an earlier release left: task teardown in its checkout. Where that is gone, as root:',
              `rm ${nameless.join(' ')}`,
            ]),
        ...(refused.length > foreign.length
          ? [`task ${task} -- --adopt   # takes over what is yours, after a prompt`]
          : []),
      ].join('\n'),
    },
  )
}

function whose({ owner }: Foreign): string {
  return owner === undefined
    ? 'of an earlier release, and not in our journal'
    : `of installation ${owner.id} in ${owner.stateDir}`
}

async function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '') // not there, or not ours to read
}
