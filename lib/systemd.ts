import { ask } from './exec.ts'
import { exists } from './files.ts'

export interface UnitState {
  /** Starts with the machine. */
  enabled: boolean
  /** Runs now, or (a socket) listens. */
  active: boolean
}

/** Whether this machine was booted by systemd; its own rule for telling (sd_booted). */
export async function systemdRuns(): Promise<boolean> {
  return exists('/run/systemd/system')
}

/** State of a unit; one that does not exist is neither enabled nor active. */
export async function unitState(unit: string): Promise<UnitState> {
  const { stdout } = await ask(['systemctl', 'show', '--property=UnitFileState,ActiveState', unit])
  const properties = new Map(stdout.split('\n').map(line => line.split('=', 2) as [string, string]))
  return {
    enabled: properties.get('UnitFileState')?.startsWith('enabled') ?? false,
    active: ['active', 'activating', 'reloading'].includes(properties.get('ActiveState') ?? ''),
  }
}
