import { commandLine, type Shell } from '../system/exec.ts'
import type { Privilege } from '../system/privilege.ts'
import { lookAtUnits, unitState } from '../system/systemd.ts'
import { plan, type Recorder, record, type UndoOutcome } from './recorder.ts'

/** A unit's own starting takes as long as its service does: that of the containers waits for all of them. */
const startTimeout = '5m'

/** The command that enables and starts units; its `$` runs as root. */
export type EnableCommand = (names: readonly string[], $: ReturnType<Shell>) => PromiseLike<unknown>

/** Enables and starts those of the units that are not so already, in one command; outcomes come in their order. */
export async function enableUnits(
  recorder: Recorder,
  units: readonly { unit: string; scope?: string }[],
  command: EnableCommand = (names, $) => $`systemctl enable --now ${names}`,
): Promise<('unchanged' | 'created' | 'updated')[]> {
  const looks = await lookAtUnits(units.map(({ unit }) => unit))
  const states = units.map((each, index) => {
    const { enabled, active } = looks[index]!
    return { ...each, enabled, active }
  })
  const wanted = states.filter(({ enabled, active }) => !(enabled && active))
  if (wanted.length > 0) await enable(recorder, wanted, command)
  return states.map(({ enabled, active }) =>
    enabled && active ? 'unchanged' : enabled || active ? 'updated' : 'created',
  )
}

async function enable(
  recorder: Recorder,
  wanted: readonly { unit: string; scope?: string; enabled: boolean; active: boolean }[],
  command: EnableCommand,
): Promise<void> {
  const names = wanted.map(({ unit }) => unit)
  if (recorder.dryRun)
    return plan(recorder, {
      what: `enable and start ${names.join(', ')}`,
      command: commandLine(['systemctl', 'enable', '--now', ...names]),
    })
  for (const { scope, ...state } of wanted) await record(recorder, { kind: 'unit', ...state }, scope)
  await command(names, recorder.privilege.$({ timeout: startTimeout }))
}

interface UnitBefore {
  unit: string
  enabled: boolean
  active: boolean
}

/** Brings both states of a unit back. */
export async function undoUnit(before: UnitBefore, { $ }: Privilege): Promise<UndoOutcome> {
  const now = await unitState(before.unit)
  if (now.enabled === before.enabled && now.active === before.active) return { outcome: 'unchanged' }
  const [disable, stop] = [now.enabled && !before.enabled, now.active && !before.active]
  // one command where both are wanted: each costs systemd a look at all units
  const args = disable ? ['disable', ...(stop ? ['--now'] : [])] : stop ? ['stop'] : []
  if (args.length > 0) await $({ timeout: startTimeout })`systemctl ${args} ${before.unit}`
  return { outcome: 'restored' }
}

export async function previewUnit(before: UnitBefore): Promise<UndoOutcome> {
  const now = await unitState(before.unit)
  return { outcome: now.enabled === before.enabled && now.active === before.active ? 'unchanged' : 'restored' }
}
