#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import type { Output } from '../lib/cli/output.ts'
import { defineTask } from '../lib/cli/task.ts'
import { removeNetwork } from '../lib/cluster/network.ts'
import { removeNodes } from '../lib/cluster/nodes.ts'
import type { Undone } from '../lib/journal/journal.ts'
import { describeUndone, isUndone } from '../lib/journal/undo.ts'
import { type Paths, pathsOf } from '../lib/platform/settings.ts'
import { removeThings } from '../lib/stack/things.ts'
import { badInput, ExitCode, messageOf, PlatformError } from '../lib/system/errors.ts'
import { acquireRoot, asRoot, type Privilege } from '../lib/system/privilege.ts'
import type { Outcome, StepProgress } from '../lib/system/progress.ts'
import { counted } from '../lib/system/text.ts'
import {
  describeLeftovers,
  type Leftovers,
  leftovers,
  removeContainers,
  removeState,
  requireWritableJournal,
  type TeardownOptions,
  undoChanges,
} from '../lib/teardown/teardown.ts'

export default defineTask({
  name: 'teardown',
  summary: 'Remove the platform and restore the machine',
  leaves: ['.env, unless --purge', 'volumes with the data of the services, unless --volumes'],
  undo: 'task setup',
  options: {
    'dry-run': { type: 'boolean', onlyLooks: true, help: 'only say what would be undone' },
    volumes: { type: 'boolean', help: 'delete the data of all services, too' },
    purge: { type: 'boolean', help: 'delete .env, too' },
  },
  async run({ options, yes, environment, out, onInterrupt }) {
    const paths = pathsOf(environment)
    const wanted = { volumes: options.volumes ?? false, purge: options.purge ?? false }
    const found = await leftovers(paths, wanted)
    const lines = describeLeftovers(found, wanted)
    if (options['dry-run']) {
      for (const line of lines) out.result(line)
      out.summary(lines.length === 0 ? 'Nothing would be undone.' : 'Nothing was undone (--dry-run).')
      return ExitCode.done
    }

    out.title('Teardown')
    for (const line of lines) out.say(`  ${line}`)
    if (lines.length > 0 && !yes && !(await isConfirmed(out))) return ExitCode.done
    const need = {
      reason: 'put the files, packages and services of this machine back',
      commands: [],
      interactive: out.interactive,
      say: out.say,
    }
    const privilege = found.changes.length === 0 ? asRoot : await acquireRoot(need)
    if (found.changes.length > 0) await requireWritableJournal(paths)

    const failures: string[] = []
    let isInterrupted = false
    onInterrupt(async () => {
      isInterrupted = true
    })
    /** One part of the teardown; when it fails, the others go on, and it is reported at the end. */
    const part: Part = (title, action) =>
      out.step(title, action).catch(error => {
        if (isInterrupted) throw error
        failures.push(`${title}: ${textOf(error)}`)
      })

    await removeFromEngine(found, paths, wanted, part)
    if (found.unseen !== undefined)
      failures.push(
        `Containers, networks and volumes come back with Docker (${found.unseen}); start it, then run this again`,
      )
    const undone = await putBack(paths, privilege, part)
    for (const each of undone) if (each.outcome === 'failed') failures.push(`${each.what}: ${each.why}`)
    const kept = undone.filter(({ outcome }) => outcome === 'kept').length
    const keepId = found.volumes.length > 0 && !wanted.volumes
    if (kept + failures.length === 0)
      await part(`Remove ${paths.stateDir}`, () => removeState(paths, { ...wanted, keepId }, privilege))

    if (kept > 0) out.warn(`${counted(kept, 'change')} kept, see above; the journal says what was there before`)
    if (failures.length > 0)
      throw new PlatformError('Not everything could be undone', {
        why: failures.join('\n'),
        hint: `Everything else was. The journal stays in ${paths.stateDir}; run this again when the cause is gone`,
      })
    out.summary(
      kept > 0
        ? `The journal stays in ${paths.stateDir}.`
        : `This machine is as it was${keepId ? ', but for the data volumes, and the file that says whose they are' : ''}.`,
    )
    return ExitCode.done
  },
})

type Part = (title: string, action: (progress: StepProgress) => Promise<Outcome>) => Promise<unknown>

/** Removes what this installation has created in the engine, what uses others first. */
async function removeFromEngine(found: Leftovers, paths: Paths, wanted: TeardownOptions, part: Part): Promise<void> {
  const { nodes, containers, networks, clusterNetwork, volumes } = found
  if (nodes.length > 0) await part('Remove the cluster', () => removeNodes(nodes).then(() => 'removed'))
  if (containers.length > 0) await part('Stop and remove the containers', () => removeContainers(containers))
  if (networks.length > 0) await part('Remove the network', () => removeThings(networks))
  if (clusterNetwork !== undefined) await part("Remove the cluster's network", () => removeNetwork(paths))
  if (wanted.volumes && volumes.length > 0) await part('Delete the data', () => removeThings(volumes))
}

/** Undoes what the journal has recorded, and returns what came of each change. */
async function putBack(paths: Paths, privilege: Privilege, part: Part): Promise<Undone[]> {
  let undone: Undone[] = []
  await part('Put this machine back', async progress => {
    undone = await undoChanges(paths, privilege, each => {
      if (each.outcome !== 'unchanged') progress.line(`${each.what}: ${describeUndone(each)}`)
    })
    return undone.length === 0 ? 'unchanged' : undone.every(isUndone) ? 'restored' : 'restored in part'
  })
  return undone
}

async function isConfirmed(out: Output): Promise<boolean> {
  if (out.interactive) return out.confirm('Undo all this?')
  const problem = { where: 'teardown', what: 'there is no terminal to prompt on' }
  throw badInput('Teardown has to be confirmed', [problem], 'task teardown -- --yes')
}

function textOf(error: unknown): string {
  return error instanceof PlatformError ? [error.message, error.why].filter(Boolean).join(': ') : messageOf(error)
}
