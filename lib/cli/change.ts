import { type Journal, openJournal, type PlannedChange } from '../journal/journal.ts'
import { type Owner, ownerOf } from '../platform/owner.ts'
import type { Paths } from '../platform/settings.ts'
import { acquireRoot, asRoot, type Privilege } from '../system/privilege.ts'
import type { Outcome, StepProgress } from '../system/progress.ts'
import { counted } from '../system/text.ts'
import type { Output } from './output.ts'

/** This machine, for the steps of a task that changes it. */
export interface Machine {
  /** Nothing is changed: the steps run only to learn what they would do. */
  isPreview: boolean
  privilege: Privilege
  /** Who we are, for what is written outside the checkout. */
  owner: Owner
  /** The journal of a part of the platform, which all changes go through. */
  open(scope: string): Journal
  /** One visible step; a preview shows none. */
  step(title: string, action: (progress: StepProgress) => Promise<Outcome | undefined>): Promise<void>
}

export interface MachineChange {
  out: Output
  paths: Pick<Paths, 'stateDir'>
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
  { out, paths, dryRun, title, reason, needsRoot = async () => true }: MachineChange,
  steps: (machine: Machine) => Promise<void>,
): Promise<boolean> {
  const preview = machineOf(await ownerOf(paths, true), asRoot, true, async (_, action) => void (await action(silent)))
  await steps(preview)
  const planned = preview.planned()
  if (dryRun) {
    for (const { what } of planned) out.result(what)
    out.summary(planned.length === 0 ? 'Nothing would be changed.' : 'Nothing was changed (--dry-run).')
    return false
  }

  if (title !== undefined) out.title(title)
  const isRootNeeded = planned.length > 0 && (await needsRoot(planned))
  const privilege = isRootNeeded
    ? await acquireRoot({
        reason: `${reason} (${counted(planned.length, 'change')}; --dry-run lists them)`,
        commands: planned.map(({ command }) => command),
        interactive: out.interactive,
        say: out.say,
      })
    : asRoot
  const isDone = planned.length === 0
  const { planned: _, ...machine } = machineOf(await ownerOf(paths, isDone), privilege, isDone, out.step)
  await steps({ ...machine, isPreview: false })
  return true
}

const silent: StepProgress = { update() {}, line() {} }

function machineOf(
  owner: Owner,
  privilege: Privilege,
  dryRun: boolean,
  step: Machine['step'],
): Machine & { planned(): PlannedChange[] } {
  // one for each opening, so that what is planned comes in its order
  const journals: Journal[] = []
  return {
    isPreview: dryRun,
    privilege,
    owner,
    step,
    open(scope) {
      const journal = openJournal({ stateDir: owner.stateDir, privilege, scope, dryRun })
      journals.push(journal)
      return journal
    },
    planned: () => journals.flatMap(({ planned }) => planned).filter(({ what }) => what !== ''),
  }
}
