import { readFile } from 'node:fs/promises'
import { type Foreign, requireOurs } from '../journal/foreign.ts'
import { type Journal, openJournal, type PlannedChange } from '../journal/journal.ts'
import { type Owner, ownerOf, withOurId } from '../platform/owner.ts'
import type { Paths } from '../platform/settings.ts'
import { badInput } from '../system/errors.ts'
import { acquireRoot, asRoot, noteNeed, type Privilege } from '../system/privilege.ts'
import type { Outcome, StepProgress } from '../system/progress.ts'
import { counted } from '../system/text.ts'
import type { Output } from './output.ts'

/** This machine, for the steps of a task that changes it. */
export interface Machine {
  /** The steps run only to learn what they would do; nothing is shown or verified. */
  isPreview: boolean
  /** Nothing may be changed: in a preview, and where the preview found nothing to do. */
  dryRun: boolean
  privilege: Privilege
  /** Who we are, for what is written outside the checkout. */
  owner: Owner
  /** The journal of a part of the platform, which all changes go through. */
  open(scope: string): Journal
  /**
   * Throws where another installation made one of these, or this checkout did before it had its id and `--adopt` is not given. The rest may be
   * removed and made anew; `--adopt` prompts for it between the preview and the real run.
   */
  requireOurs(found: readonly Foreign[]): void
  /** One visible step; a preview shows none. */
  step(title: string, action: (progress: StepProgress) => Promise<Outcome | undefined>): Promise<void>
}

export interface MachineChange {
  task: string
  out: Output
  paths: Pick<Paths, 'stateDir'>
  /** `--adopt`: take over what this checkout made before it had its present id. */
  adopt: boolean
  /** `--yes`: prompt for nothing. */
  yes: boolean
  /** Only list what would be changed: `--dry-run`. */
  dryRun: boolean
  title?: string
  /** Completes 'sudo is needed to …'. */
  reason: string
  /** Whether the planned changes need root; by default all do. */
  needsRoot?: (planned: readonly PlannedChange[]) => Promise<boolean>
}

/**
 * Runs the steps of a task that changes this machine: first as a preview, which tells what root is needed for and is all that `--dry-run` does,
 * then for real. Where the preview found nothing to do, the second pass changes nothing either. Returns whether the steps ran for real.
 */
export async function changeMachine(
  { task, out, paths, adopt, yes, dryRun, title, reason, needsRoot = async () => true }: MachineChange,
  steps: (machine: Machine) => Promise<void>,
): Promise<boolean> {
  const adopted = new Set<string>()
  const requireOwn = (found: readonly Foreign[]) => {
    requireOurs(found, { adopt, task })
    for (const { what, state } of found) if (state === 'adoptable') adopted.add(what)
  }
  const runSilently: Machine['step'] = async (_, action) => void (await action(silent))
  const preview = machineOf(await ownerOf(paths, true), asRoot, true, requireOwn, runSilently)
  await steps(preview)
  const planned = preview.planned()
  if (dryRun) {
    if (planned.length > 0 && (await needsRoot(planned))) noteNeed(planned.map(({ command }) => command))
    for (const { what } of planned) out.result(what)
    out.summary(planned.length === 0 ? 'Nothing would be changed.' : 'Nothing was changed (--dry-run).')
    return false
  }

  if (title !== undefined) out.title(title)
  if (adopted.size > 0 && !yes && !(await confirmAdoption(out, [...adopted]))) return false
  const isRootNeeded = planned.length > 0 && (await needsRoot(planned))
  const privilege = isRootNeeded
    ? await acquireRoot({
        reason: `${reason} (${counted(planned.length, 'change')}; --dry-run lists them)`,
        commands: planned.map(({ command }) => command),
        interactive: out.interactive,
        say: out.say,
        alone: out.alone,
      })
    : asRoot
  const isDone = planned.length === 0
  const { planned: _, ...machine } = machineOf(await ownerOf(paths, isDone), privilege, isDone, requireOwn, out.step)
  await steps({ ...machine, isPreview: false })
  return true
}

const silent: StepProgress = { update() {}, line() {} }

/** What a person wrote from the commands of a preview, before there was an id, stays as it is: changing the id would need root again. */
async function writeUnlessByHand(owner: Owner, journal: Journal, ...file: Parameters<Journal['writeFile']>) {
  const [path, content] = file
  const present = await readFile(path, 'utf8').catch(() => undefined)
  const isSame = present !== undefined && present !== content && withOurId(owner, present) === content
  return isSame ? 'unchanged' : journal.writeFile(...file)
}

async function confirmAdoption(out: Output, what: readonly string[]): Promise<boolean> {
  for (const each of what) out.say(`  ${each}`)
  if (out.interactive) return out.confirm('Take these over?')
  throw badInput(
    'Taking these over needs a confirmation',
    [{ where: '--adopt', what: 'there is no terminal to prompt on' }],
    'Add --yes',
  )
}

function machineOf(
  owner: Owner,
  privilege: Privilege,
  dryRun: boolean,
  requireOurs: Machine['requireOurs'],
  step: Machine['step'],
): Machine & { planned(): PlannedChange[] } {
  // one for each opening, so that what is planned comes in its order
  const journals: Journal[] = []
  return {
    isPreview: dryRun,
    dryRun,
    privilege,
    owner,
    requireOurs,
    step,
    open(scope) {
      const journal = openJournal({ stateDir: owner.stateDir, privilege, scope, dryRun })
      journals.push(journal)
      return { ...journal, writeFile: (...file) => writeUnlessByHand(owner, journal, ...file) }
    },
    planned: () => journals.flatMap(({ planned }) => planned).filter(({ what }) => what !== ''),
  }
}
