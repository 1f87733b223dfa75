import { networkInterfaces } from 'node:os'
import type { Journal, Outcome } from '../journal/journal.ts'
import { type Owner, signature } from '../platform/owner.ts'
import type { Platform } from '../platform/platform.ts'
import { fillTemplate, readTemplate } from '../platform/render.ts'
import { PlatformError } from '../system/errors.ts'
import { args } from '../system/exec.ts'
import { NotYet, waitFor } from '../system/wait.ts'

const label = 'org.macula.loopback'
const path = `/Library/LaunchDaemons/${label}.plist`
// quiet about what is not there: a run may have ended before it was made
const quietly = (command: readonly string[]) => args`sh -c ${'"$@" || true'} quietly ${command}`
const stop = quietly(args`launchctl bootout system/${label}`)

/** Journal scope of the aliases. */
export const loopbackScope = 'routes/loopback'

/** The loopback addresses beside 127.0.0.1 that something of the platform listens on. */
export function aliasAddresses({ services, routes, applications, wildcard }: Platform): string[] {
  const all = [
    ...services.flatMap(({ published }) => published.map(({ ip }) => ip)),
    ...routes.map(({ listen }) => listen.ip),
    applications.loopback,
    wildcard,
  ]
  return [...new Set(all)].filter(ip => ip !== '127.0.0.1').sort()
}

/** The launchd job that gives macOS these addresses at each boot. */
export async function renderAliases(owner: Owner, addresses: readonly string[]): Promise<string> {
  const template = 'launchd/org.macula.loopback.plist'
  const lines = addresses.map(ip => `    <string>${ip}</string>`).join('\n')
  return fillTemplate(
    await readTemplate(template),
    { owner: signature(owner).replaceAll('--', '-\u2010'), addresses: lines },
    template,
  )
}

/**
 * Gives macOS the loopback addresses of the platform, now and after each reboot; other systems answer on all of 127.0.0.0/8 anyway.
 * Returns once lo0 has them all; throws with those it lacks after `timeoutMs`, as launchctl only starts the job and does not wait for it.
 */
export async function ensureLoopbackAliases(
  platform: Platform,
  owner: Owner,
  journal: Journal,
  { system = process.platform as string, present = loopbackAddresses, timeoutMs = 5_000 } = {},
): Promise<Outcome> {
  if (system !== 'darwin') return 'unchanged'
  const addresses = aliasAddresses(platform)
  for (const ip of addresses) await journal.afterUndo(quietly(args`ifconfig lo0 -alias ${ip}`))
  await journal.afterUndo(stop)
  const outcome = await journal.writeFile(path, await renderAliases(owner, addresses))
  const missing = () => addresses.filter(ip => !present().includes(ip))
  if (outcome === 'unchanged' && missing().length === 0) return outcome
  if (outcome !== 'created') await journal.$`${stop}`
  await journal.$`launchctl bootstrap system ${path}`
  if (!journal.isDryRun) await untilPresent(missing, timeoutMs)
  return outcome === 'unchanged' ? 'updated' : outcome
}

function untilPresent(missing: () => string[], timeoutMs: number): Promise<true> {
  const look = () => missing().length === 0 || new NotYet(missing().join(', '))
  return waitFor<true>(look, {
    timeoutMs,
    onTimeout: lacking =>
      new PlatformError(`lo0 has no address ${lacking}`, {
        why: `launchd took the job ${label}, and ${timeoutMs / 1000} s later the address is still missing`,
        hint: `launchctl print system/${label}   # shows how the job ended`,
      }),
  })
}

function loopbackAddresses(): string[] {
  return (networkInterfaces().lo0 ?? []).map(({ address }) => address)
}
