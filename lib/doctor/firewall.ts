import { readFile } from 'node:fs/promises'
import type { Platform } from '../platform/platform.ts'
import type { EngineFacts } from '../stack/engine.ts'
import type { Host } from '../system/machine.ts'
import { unitState } from '../system/systemd.ts'
import { isOlder, safeEngine } from './engine.ts'
import type { Check, Finding } from './finding.ts'

const check = 'Firewall'

/** Firewalls that could come between this machine and its containers. They leave loopback addresses alone. */
export function firewallCheck(
  { settings }: Pick<Platform, 'settings'>,
  host: Host,
  facts: Promise<EngineFacts>,
): Check {
  return {
    name: check,
    async look() {
      if (host.os === 'macos') return []
      const text = (path: string) => readFile(path, 'utf8').catch(() => '')
      const ufw = ufwFindings(await text('/etc/ufw/ufw.conf'), await text('/etc/default/ufw'), settings.MACULA_SUBNET)
      const firewalld = host.init === 'systemd' && (await unitState('firewalld.service')).active
      return firewalld ? [...ufw, firewalldFinding((await facts).version)] : ufw
    },
  }
}

/** Judges ufw by the text of its ufw.conf and of its defaults. */
export function ufwFindings(configuration: string, defaults: string, subnet: string): Finding[] {
  if (!/^ENABLED=yes/im.test(configuration)) return []
  const outgoing = /^DEFAULT_OUTPUT_POLICY="?(\w+)/m.exec(defaults)?.[1] ?? 'ACCEPT'
  return outgoing === 'ACCEPT'
    ? [{ check, state: 'ok', detail: 'ufw; outgoing connections to the containers are allowed' }]
    : [
        {
          check,
          state: 'warn',
          detail: 'ufw drops what this machine sends unless a rule allows it, also to its containers',
          hint: `sudo ufw allow out to ${subnet}`,
        },
      ]
}

/** Judges firewalld by the version of the engine; undefined where the engine does not answer. */
export function firewalldFinding(engine: string | undefined): Finding {
  return engine !== undefined && !isOlder(engine, safeEngine)
    ? { check, state: 'ok', detail: 'firewalld; Docker puts its rules back when it is reloaded' }
    : {
        check,
        state: 'warn',
        detail: `firewalld: its reload drops the rules of Docker older than ${safeEngine.join('.')}`,
        hint: 'After a reload of firewalld: sudo systemctl restart docker',
      }
}
