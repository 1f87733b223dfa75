import { $ } from './exec.ts'
import { exists } from './files.ts'
import { identityOf } from './processes.ts'

export interface UnitState {
  /** Starts with the machine. */
  enabled: boolean
  /** Runs now, or (a socket) listens. */
  active: boolean
}

/** What systemd makes of a unit's file, which may not be what the file says: it is read when systemd is told to, and a process is as it was started. */
export interface RunningUnit extends UnitState {
  /** The file was written after systemd read it. */
  isOutdated: boolean
  /** Command line of its main process; undefined where it has none. */
  command: readonly string[] | undefined
}

/** Whether this machine was booted by systemd; its own rule for telling (sd_booted). */
export async function systemdRuns(): Promise<boolean> {
  return exists('/run/systemd/system')
}

/** State of a unit; one that does not exist is neither enabled nor active. */
export async function unitState(unit: string): Promise<UnitState> {
  const { enabled, active } = await lookAtUnit(unit)
  return { enabled, active }
}

/** The same with what runs of it. */
export async function lookAtUnit(unit: string): Promise<RunningUnit> {
  return (await lookAtUnits([unit]))[0]!
}

/** Looks at several units at once; gives them in the order they were named in. */
export async function lookAtUnits(units: readonly string[]): Promise<RunningUnit[]> {
  const wanted = 'UnitFileState,ActiveState,NeedDaemonReload,MainPID'
  const { stdout } = await $({ nothrow: true })`systemctl show --property=${wanted} ${units}`
  const blocks = stdout.split('\n\n')
  return Promise.all(units.map((_, index) => parseUnit(blocks[index] ?? '')))
}

async function parseUnit(text: string): Promise<RunningUnit> {
  const properties = new Map(text.split('\n').map(line => line.split('=', 2) as [string, string]))
  const pid = Number(properties.get('MainPID') ?? 0)
  return {
    enabled: properties.get('UnitFileState')?.startsWith('enabled') ?? false,
    active: ['active', 'activating', 'reloading'].includes(properties.get('ActiveState') ?? ''),
    isOutdated: properties.get('NeedDaemonReload') === 'yes',
    command: pid === 0 ? undefined : (await identityOf(pid))?.command,
  }
}

/**
 * Whether a service's process was started by another text than this one: it goes on as before until it is started anew.
 * For units whose one ExecStart has neither quotes nor specifiers.
 */
export function runsOtherwise({ isOutdated, command }: RunningUnit, text: string): boolean {
  const wanted = /^ExecStart=(.+)$/m.exec(text)?.[1]
  return command !== undefined && (isOutdated || command.join(' ') !== wanted)
}
