import { readFile } from 'node:fs/promises'
import type { Journal, Outcome } from '../journal/journal.ts'
import type { Platform } from '../platform/platform.ts'
import { fillTemplate, readTemplate } from '../platform/render.ts'
import type { Address } from '../system/address.ts'
import { PlatformError } from '../system/errors.ts'
import { args, ask, lastLines } from '../system/exec.ts'
import { type Host, packageManagerOf, programPath } from '../system/machine.ts'
import { lookAtUnit, runsOtherwise } from '../system/systemd.ts'
import { configPath, type DnsmasqSettings, dnsmasqConfig, versionName } from './config.ts'
import { query } from './query.ts'

export const unitName = 'macula-dnsmasq.service'
const unitPath = `/etc/systemd/system/${unitName}`
const launchLabel = 'io.macula.dnsmasq'
const launchPath = `/Library/LaunchDaemons/${launchLabel}.plist`

/** The package with the program alone where a distribution has one, so that no second service comes with it. */
export function dnsmasqPackage(host: Host): string {
  return host.os === 'debian' ? 'dnsmasq-base' : 'dnsmasq'
}

/** Installs dnsmasq where the machine has none. Throws for a version whose answers for AAAA are wrong. */
export async function ensureDnsmasq(host: Host, journal: Journal): Promise<Outcome> {
  const outcome: Outcome = (await programPath('dnsmasq'))
    ? 'unchanged'
    : await journal.installPackages(packageManagerOf(host, 'dnsmasq'), [dnsmasqPackage(host)])
  const program = await programPath('dnsmasq')
  if (program) requireVersion((await ask([program, '--version'])).stdout)
  return outcome
}

/** Throws for a dnsmasq before 2.86, which denies the existence of a name when asked for its IPv6 address. */
export function requireVersion(output: string): void {
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(output) ?? []
  if (Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 86)) return
  throw new PlatformError('dnsmasq is too old', {
    why: `Version 2.86 or newer is needed; this one says: ${lastLines(output, 1) || 'nothing'}`,
    hint: 'Install a newer dnsmasq',
  })
}

/** Writes our dnsmasq's configuration, after dnsmasq itself has read it without complaint. */
export async function ensureConfig(platform: Platform, settings: DnsmasqSettings, journal: Journal): Promise<Outcome> {
  const { text } = await dnsmasqConfig(platform, settings)
  const program = await programPath('dnsmasq')
  if (program) {
    const { exitCode, stderr } = await ask([program, '--test', '--conf-file=-'], { input: text })
    if (exitCode !== 0) throw new PlatformError('dnsmasq refuses the configuration made for it', { why: stderr.trim() })
  }
  return journal.writeFile(configPath, text)
}

/** Makes our dnsmasq run with its present configuration: as a service where we know how, and as a daemon of our own elsewhere. */
export async function ensureRunning(
  host: Host,
  platform: Platform,
  settings: DnsmasqSettings,
  journal: Journal,
): Promise<Outcome> {
  const { version } = await dnsmasqConfig(platform, settings)
  const isCurrent = () => answersWith(settings.listen, version)
  const program = (await programPath('dnsmasq')) ?? '/usr/sbin/dnsmasq'
  if (host.init === 'systemd') return ensureUnit(program, platform.domain, isCurrent, journal)
  if (host.init === 'launchd') return ensureLaunchDaemon(program, isCurrent, journal)
  const command = [program, '--keep-in-foreground', `--conf-file=${configPath}`]
  return journal.startProcess({ name: 'dnsmasq', command, ready: isCurrent })
}

/** Whether the dnsmasq at an address runs with this version of its configuration. */
export async function answersWith(listen: Address, version: string): Promise<boolean> {
  const answer = await query(listen, versionName, 'TXT')
  return answer.kind === 'records' && answer.records.includes(version)
}

/** The command that shows what our dnsmasq has to say. */
export function logCommand(host: Host): string {
  return host.init === 'systemd'
    ? `journalctl --unit ${unitName} --lines 20`
    : `dnsmasq --test --conf-file=${configPath}`
}

/** The user that a dnsmasq started as root changes to: its own where the machine has one. */
export async function daemonUser(host: Host): Promise<string | undefined> {
  if (host.init === 'systemd') return undefined // its unit never starts as root
  const users = await readFile('/etc/passwd', 'utf8').catch(() => '')
  return /^dnsmasq:/m.test(users) ? 'dnsmasq' : 'nobody'
}

async function ensureUnit(
  program: string,
  domain: string,
  isCurrent: () => Promise<boolean>,
  journal: Journal,
): Promise<Outcome> {
  const unit = fillTemplate(
    await readTemplate(`systemd/${unitName}`),
    { domain, program, config: configPath },
    unitName,
  )
  await journal.afterUndo(args`systemctl daemon-reload`)
  const written = await journal.writeFile(unitPath, unit)
  // also what an earlier run wrote and did not come to tell systemd of
  const before = await lookAtUnit(unitName)
  if (written !== 'unchanged' || before.isOutdated) await journal.$`systemctl daemon-reload`
  const [enabled] = await journal.enableUnits([{ unit: unitName }])
  const isRight = written === 'unchanged' && enabled === 'unchanged' && !runsOtherwise(before, unit)
  if (isRight && (await isCurrent())) return 'unchanged'
  if (enabled !== 'created') await journal.$`systemctl restart ${unitName}`
  return enabled === 'created' ? 'created' : 'updated'
}

async function ensureLaunchDaemon(
  program: string,
  isCurrent: () => Promise<boolean>,
  journal: Journal,
): Promise<Outcome> {
  const plist = fillTemplate(
    await readTemplate(`launchd/${launchLabel}.plist`),
    { program, config: configPath },
    launchLabel,
  )
  const written = await journal.writeFile(launchPath, plist)
  // recorded after the file, so undone before it
  await journal.afterUndo(args`sh -c ${'launchctl bootout "$1" || true'} bootout system/${launchLabel}`)
  if (written === 'unchanged' && (await isCurrent())) return 'unchanged'
  const isLoaded = (await ask(['launchctl', 'print', `system/${launchLabel}`])).exitCode === 0
  if (isLoaded) await journal.$`launchctl bootout system/${launchLabel}`
  await journal.$`launchctl bootstrap system ${launchPath}`
  return isLoaded ? 'updated' : 'created'
}
