import { readFile } from 'node:fs/promises'
import type { Journal, Outcome } from '../journal/journal.ts'
import { versionName } from '../platform/dns-server.ts'
import { type Owner, signature } from '../platform/owner.ts'
import { fillTemplate, readTemplate } from '../platform/render.ts'
import type { Address } from '../system/address.ts'
import { PlatformError } from '../system/errors.ts'
import { $, args, lastLines } from '../system/exec.ts'
import { type Host, programPath } from '../system/machine.ts'
import { lookAtUnit, runsOtherwise } from '../system/systemd.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import { configPath } from './config.ts'
import { query } from './query.ts'

export const unitName = 'macula-dnsmasq.service'
export const unitPath = `/etc/systemd/system/${unitName}`
const launchLabel = 'io.macula.dnsmasq'
/** dnsmasq answers within a second of its start; the rest is for a machine that is busy. */
const jobStartsWithinMs = 5000
export const launchPath = `/Library/LaunchDaemons/${launchLabel}.plist`

/** The package with the program alone where a distribution has one, so that no second service comes with it. */
export function dnsmasqPackage(host: Host): string {
  return host.os === 'debian' ? 'dnsmasq-base' : 'dnsmasq'
}

/** Where packages install dnsmasq; for a preview, before it is installed. */
export const dnsmasqPath = '/usr/sbin/dnsmasq'

/** What has been asked in this run: a setup asks several times. */
const newEnough = new Set<string>()

/** Path of the installed dnsmasq; undefined where it is not installed (yet). Throws for a version whose answers for AAAA are wrong. */
export async function installedDnsmasq(): Promise<string | undefined> {
  const program = await programPath('dnsmasq')
  if (program && !newEnough.has(program)) {
    requireVersion(await $`${program} --version`.nothrow().text())
    newEnough.add(program)
  }
  return program
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

export interface WrittenUnit {
  outcome: Outcome
  /** systemd has read an earlier text of it. */
  isOutdated: boolean
  /** Its process was started by another text, or does not run. */
  runsOtherwise: boolean
}

/** Writes the unit of our dnsmasq; also reports what an earlier run wrote and systemd has not read yet. */
export async function writeUnit(program: string, domain: string, owner: Owner, journal: Journal): Promise<WrittenUnit> {
  const values = { owner: signature(owner), domain, program, config: configPath }
  const unit = fillTemplate(await readTemplate(`systemd/${unitName}`), values, unitName)
  await journal.afterUndo(args`systemctl daemon-reload`)
  const outcome = await journal.writeFile(unitPath, unit)
  const before = await lookAtUnit(unitName)
  return {
    outcome,
    isOutdated: outcome !== 'unchanged' || before.isOutdated,
    runsOtherwise: runsOtherwise(before, unit),
  }
}

/** Runs dnsmasq where systemd does not: as a job of launchd, or as a daemon of our own. Returns once it answers with its configuration. */
export async function runDaemon(
  host: Host,
  program: string,
  owner: Owner,
  isCurrent: () => Promise<boolean>,
  journal: Journal,
): Promise<Outcome> {
  if (host.init === 'launchd') return runLaunchDaemon(program, owner, isCurrent, journal)
  const command = args`${program} --keep-in-foreground --conf-file=${configPath}`
  return journal.startProcess({ name: 'dnsmasq', command, ready: isCurrent })
}

async function runLaunchDaemon(
  program: string,
  owner: Owner,
  isCurrent: () => Promise<boolean>,
  journal: Journal,
): Promise<Outcome> {
  const values = { owner: signature(owner).replaceAll('--', '-\u2010'), program, config: configPath }
  const plist = fillTemplate(await readTemplate(`launchd/${launchLabel}.plist`), values, launchLabel)
  const written = await journal.writeFile(launchPath, plist)
  // recorded after the file, so undone before it
  await journal.afterUndo(args`sh -c ${'launchctl bootout "$1" || true'} bootout system/${launchLabel}`)
  if (written === 'unchanged' && (await isCurrent())) return 'unchanged'
  const { exitCode } = await $({ nothrow: true })`launchctl print system/${launchLabel}`
  const isLoaded = exitCode === 0
  if (isLoaded) await journal.$`launchctl bootout system/${launchLabel}`
  await journal.$`launchctl bootstrap system ${launchPath}`
  if (!journal.isDryRun) await untilJobAnswers(isCurrent)
  return isLoaded ? 'updated' : 'created'
}

/** launchctl only hands the job over: whether the program starts, and stays, shows afterwards. Throws with what launchd says of it. */
async function untilJobAnswers(isCurrent: () => Promise<boolean>): Promise<void> {
  const show = `launchctl print system/${launchLabel}`
  await waitFor(async () => (await isCurrent()) || new NotYet('it does not answer with its configuration'), {
    timeoutMs: jobStartsWithinMs,
    onTimeout: async seen => {
      const { stdout, stderr } = await $({ nothrow: true })`launchctl print system/${launchLabel}`
      const told = stdout.match(/^\s*(state|pid|last exit (?:code|reason)) = .*$/gm) ?? [lastLines(stderr, 2)]
      return new PlatformError(`dnsmasq does not work ${jobStartsWithinMs / 1000} s after launchd took its job`, {
        why: [seen, ...told.map(line => line.trim())].filter(Boolean).join('\n'),
        hint: `${show}   # shows how the job ended`,
      })
    },
  })
}
