import { messageOf, PlatformError } from './errors.ts'
import { $, args, commandLine, type Shell } from './exec.ts'
import type { Privilege } from './privilege.ts'

export type PackageManagerName = 'apt' | 'dnf' | 'pacman' | 'zypper' | 'apk' | 'brew'

/** The commands of one package manager. */
interface PackageTool {
  /** Refuses to run as root. */
  asUser?: boolean
  /** Fetches the lists of what there is; needed on machines that never did. Absent where newer lists alone would do harm. */
  refresh?: readonly string[]
  /** What a person runs where a package is not found, or not there any more. */
  upgrade?: string
  install(names: readonly string[]): string[]
  /** Removes packages with what they put into /etc. */
  remove(names: readonly string[]): string[]
  /** Lists all installed packages, one name per line. */
  list: readonly string[]
  /** Says what an installation would bring along, without doing it. */
  simulate(names: readonly string[]): string[]
  /** Reads the names out of what `simulate` printed. */
  simulated(output: string): string[]
  /** Says what would go if packages were removed with everything that depends on them, without doing it. */
  simulateRemoval(names: readonly string[]): string[]
  /** Reads the names out of what `simulateRemoval` printed. */
  removed(output: string): string[]
}

// a package that asks questions would wait for an answer forever
const apt = args`env DEBIAN_FRONTEND=noninteractive apt-get -q`
// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query fills these in
const debianList = '${Package} ${db:Status-Status}\\n'

//  dnsmasq   x86_64   2.90-3.fc41   fedora   355 k
const dnfRows = /^ (\S+)\s+(?:x86_64|aarch64|noarch|i686|ppc64le|s390x|armv7hl)\s/gm
const noWeak = '--setopt=install_weak_deps=False'

const tools: Record<PackageManagerName, PackageTool> = {
  apt: {
    refresh: args`${apt} update`,
    install: names => args`${apt} install -y --no-install-recommends ${names}`,
    remove: names => args`${apt} purge -y ${names}`,
    list: args`dpkg-query -W -f ${debianList}`,
    simulate: names => args`apt-get install -s --no-install-recommends ${names}`,
    // Inst dnsmasq-base (2.90-4 Debian:12/stable [amd64])
    simulated: output => allMatches(output, /^Inst (\S+)(?= \()/gm),
    simulateRemoval: names => args`apt-get purge -s -o APT::Get::AutomaticRemove=false ${names}`,
    // Purg dnsmasq [2.90-4] \n Remv dnsmasq-base [2.90-4]
    removed: output => allMatches(output, /^(?:Purg|Remv) (\S+)/gm),
  },
  dnf: {
    refresh: args`dnf makecache`,
    install: names => args`dnf install -y ${noWeak} ${names}`,
    remove: names => args`dnf remove -y --no-autoremove ${names}`,
    list: args`rpm -qa --qf ${'%{NAME}\\n'}`,
    simulate: names => args`dnf install --assumeno ${noWeak} ${names}`,
    simulated: output => allMatches(output, dnfRows),
    simulateRemoval: names => args`dnf remove --assumeno --no-autoremove ${names}`,
    removed: output => allMatches(output, dnfRows),
  },
  pacman: {
    // no `-Sy`: a package of newer lists beside libraries of older ones is a partial upgrade, which Arch does not support
    upgrade: 'sudo pacman -Syu',
    install: names => args`pacman -S --noconfirm --needed ${names}`,
    remove: names => args`pacman -R --noconfirm --nosave ${names}`,
    list: args`pacman -Qq`,
    simulate: names => args`pacman -S --print --print-format %n --needed ${names}`,
    simulated: output => allMatches(output, /^([a-z0-9@_+][\w@.+-]*)$/gm),
    simulateRemoval: names => args`pacman -R --cascade --print --print-format %n ${names}`,
    removed: output => allMatches(output, /^([a-z0-9@_+][\w@.+-]*)$/gm),
  },
  zypper: {
    refresh: args`zypper --non-interactive refresh`,
    install: names => args`zypper --non-interactive install --no-recommends ${names}`,
    remove: names => args`zypper --non-interactive remove ${names}`,
    list: args`rpm -qa --qf ${'%{NAME}\\n'}`,
    simulate: names => args`zypper --non-interactive install --dry-run --no-recommends ${names}`,
    // The following 2 NEW packages are going to be installed:\n  dnsmasq system-user-dnsmasq\n
    simulated: output => wordsBelow(output, /NEW packages? (?:is|are) going to be installed:\n((?: {2}.+\n?)+)/),
    simulateRemoval: names => args`zypper --non-interactive remove --dry-run ${names}`,
    // The following 2 packages are going to be REMOVED:\n  dnsmasq libvirt-daemon\n
    removed: output => wordsBelow(output, /packages? (?:is|are) going to be REMOVED:\n((?: {2}.+\n?)+)/),
  },
  apk: {
    refresh: args`apk update`,
    install: names => args`apk add ${names}`,
    remove: names => args`apk del --purge ${names}`,
    list: args`apk info -q`,
    simulate: names => args`apk add --simulate ${names}`,
    // (1/2) Installing dnsmasq-common (2.90-r3)
    simulated: output => allMatches(output, /^\(\d+\/\d+\) Installing (\S+)/gm),
    simulateRemoval: names => args`apk del --rdepends --simulate ${names}`,
    // (1/2) Purging dnsmasq-common (2.90-r3)
    removed: output => allMatches(output, /^\(\d+\/\d+\) Purging (\S+)/gm),
  },
  brew: {
    refresh: args`brew update`,
    asUser: true,
    install: names => args`brew install --quiet ${names}`,
    remove: names => args`brew uninstall ${names}`,
    list: args`brew list --formula -1`,
    simulate: names => args`brew install --dry-run ${names}`,
    // ==> Would install 1 formula:\ndnsmasq
    simulated: output =>
      wordsBelow(output, /Would install \d+ (?:formulae?|dependenc(?:y|ies))[^\n]*:\n((?:[\w@.+-]+[ \n]?)+)/),
    // of several names it says only what uses all of them
    simulateRemoval: names =>
      args`sh -c ${'for name; do brew uses --installed --recursive "$name"; done'} uses ${names}`,
    removed: output => output.split(/\s+/).filter(Boolean),
  },
}

export const packageManagerNames = Object.keys(tools) as PackageManagerName[]

/** The command that a person would install packages with. */
export function installCommand(manager: PackageManagerName, names: readonly string[]): string[] {
  return tools[manager].install(names)
}

/** The command that removes packages, with the settings they brought. */
export function removeCommand(manager: PackageManagerName, names: readonly string[]): string[] {
  return tools[manager].remove(names)
}

/** Those of `names` that are not installed. */
export async function missingPackages(
  manager: PackageManagerName,
  names: readonly string[],
  shell: Shell = $,
): Promise<string[]> {
  const { stdout } = await shell({ nothrow: true })`${tools[manager].list}`
  const installed = installedIn(stdout)
  return names.filter(name => !installed.has(name))
}

/** Reads a package manager's list of what is installed. */
export function installedIn(list: string): Set<string> {
  // dpkg also knows packages that are gone but for their settings
  const lines = list.split('\n').filter(line => !/ (?!installed)\S+$/.test(line))
  return new Set(lines.map(line => line.split(' ')[0] ?? ''))
}

/**
 * What an installation of packages would put on the machine: the packages with all they bring along. Fetches the package lists first where
 * the machine has none. Throws where a package is not available.
 */
export async function packagesToInstall(
  manager: PackageManagerName,
  names: readonly string[],
  privilege: Privilege,
): Promise<string[]> {
  const { simulate, refresh, upgrade, asUser } = tools[manager]
  const found = async () => packagesIn(manager, (await $({ nothrow: true })`${simulate(names)}`).stdout)
  let all = await found()
  const missing = names.filter(name => !all.includes(name))
  if (missing.length > 0 && refresh === undefined)
    throw new PlatformError(`${manager} does not know ${missing.join(', ')}`, { hint: upgrade })
  if (missing.length > 0) {
    await (asUser ? $ : privilege.$)({ idle: silence, finishes: true })`${refresh}`
    all = await found()
  }
  // a manager whose output we cannot read: then just what was requested
  return [...new Set([...names, ...all])]
}

/** Reads the names of new packages out of what the package manager prints when it only simulates. */
export function packagesIn(manager: PackageManagerName, output: string): string[] {
  return tools[manager].simulated(output)
}

/**
 * Which packages can be removed so that nothing else goes with them, and which cannot: those have what needs them beside them. A package whose
 * removal would take along one that has to stay has to stay, too.
 */
export async function removableOf(
  manager: PackageManagerName,
  names: readonly string[],
  shell: Shell = $,
): Promise<{ removable: string[]; needed: Map<string, string[]> }> {
  const { simulateRemoval, removed } = tools[manager]
  const alongWith = async (some: readonly string[]) => {
    const { stdout } = await shell({ nothrow: true })`${simulateRemoval(some)}`
    return removed(stdout).filter(name => !some.includes(name))
  }
  const needed = new Map<string, string[]>()
  if (names.length === 0 || (await alongWith(names)).length === 0) return { removable: [...names], needed }
  const along = new Map<string, string[]>()
  for (const name of names) along.set(name, await alongWith([name]))
  for (let found = -1; found !== needed.size; ) {
    found = needed.size
    for (const name of names) {
      const stays = along.get(name)?.filter(other => !names.includes(other) || needed.has(other)) ?? []
      if (stays.length > 0) needed.set(name, stays)
    }
  }
  return { removable: names.filter(name => !needed.has(name)), needed }
}

/** A package manager may load and unpack for a long time, but not without a word. */
const silence = '10m'

/**
 * Waits for a run of the package manager that outlived the task which began it, and finishes one that was interrupted: only then
 * is what it says of packages true.
 */
export async function settlePackages(manager: PackageManagerName, privilege: Privilege): Promise<void> {
  if (manager !== 'apt') return
  // takes dpkg's lock, looks, and changes nothing
  const check = { nothrow: true, timeout: '6m' } as const
  const { exitCode, stderr } = await privilege.$(check)`apt-get -q -o DPkg::Lock::Timeout=300 check`
  if (exitCode !== 0 && stderr.includes('dpkg --configure -a'))
    await privilege.$({ idle: silence, finishes: true })`env DEBIAN_FRONTEND=noninteractive dpkg --configure -a`
}

/** Installs or removes packages with a command of this module. */
export async function runPackageManager(
  manager: PackageManagerName,
  command: readonly string[],
  privilege: Privilege,
): Promise<void> {
  try {
    await (tools[manager].asUser ? $ : privilege.$)({ idle: silence, finishes: true })`${command}`
  } catch (error) {
    throw new PlatformError(`${manager} failed`, {
      why: messageOf(error) + (error instanceof PlatformError && error.why ? `\n${error.why}` : ''),
      hint: [`Run it by hand to see more: ${commandLine(command)}`, tools[manager].upgrade ?? []].flat().join('\n'),
    })
  }
}

function allMatches(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(match => match[1] ?? '')
}

function wordsBelow(text: string, pattern: RegExp): string[] {
  return (pattern.exec(text)?.[1] ?? '').split(/\s+/).filter(Boolean)
}
