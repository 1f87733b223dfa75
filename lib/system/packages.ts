import { messageOf, PlatformError } from './errors.ts'
import { ask, type Runner, run, shown } from './exec.ts'
import type { Privilege } from './privilege.ts'

export type PackageManagerName = 'apt' | 'dnf' | 'pacman' | 'zypper' | 'apk' | 'brew'

/** The commands of one package manager. */
interface PackageTool {
  /** Refuses to run as root. */
  asUser?: boolean
  /** Fetches the lists of what there is; needed on machines that never did. */
  refresh: readonly string[]
  install(names: readonly string[]): string[]
  /** Removes packages with what they put into /etc. */
  remove(names: readonly string[]): string[]
  /** Lists all installed packages, one name per line. */
  list: readonly string[]
  /** Says what an installation would bring along, without doing it. */
  simulate(names: readonly string[]): string[]
  /** Reads the names out of what `simulate` printed. */
  simulated(output: string): string[]
}

// a package that asks questions would wait for an answer forever
const apt = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q']

const tools: Record<PackageManagerName, PackageTool> = {
  apt: {
    refresh: [...apt, 'update'],
    install: names => [...apt, 'install', '-y', '--no-install-recommends', ...names],
    remove: names => [...apt, 'purge', '-y', ...names],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query fills these in
    list: ['dpkg-query', '-W', '-f', '${Package} ${db:Status-Status}\\n'],
    simulate: names => ['apt-get', 'install', '-s', '--no-install-recommends', ...names],
    // Inst dnsmasq-base (2.90-4 Debian:12/stable [amd64])
    simulated: output => allMatches(output, /^Inst (\S+)(?= \()/gm),
  },
  dnf: {
    refresh: ['dnf', 'makecache'],
    install: names => ['dnf', 'install', '-y', '--setopt=install_weak_deps=False', ...names],
    remove: names => ['dnf', 'remove', '-y', '--no-autoremove', ...names],
    list: ['rpm', '-qa', '--qf', '%{NAME}\\n'],
    simulate: names => ['dnf', 'install', '--assumeno', '--setopt=install_weak_deps=False', ...names],
    //  dnsmasq   x86_64   2.90-3.fc41   fedora   355 k
    simulated: output => allMatches(output, /^ (\S+)\s+(?:x86_64|aarch64|noarch|i686|ppc64le|s390x|armv7hl)\s/gm),
  },
  pacman: {
    refresh: ['pacman', '-Sy'],
    install: names => ['pacman', '-S', '--noconfirm', '--needed', ...names],
    remove: names => ['pacman', '-R', '--noconfirm', '--nosave', ...names],
    list: ['pacman', '-Qq'],
    simulate: names => ['pacman', '-S', '--print', '--print-format', '%n', '--needed', ...names],
    simulated: output => allMatches(output, /^([a-z0-9@_+][\w@.+-]*)$/gm),
  },
  zypper: {
    refresh: ['zypper', '--non-interactive', 'refresh'],
    install: names => ['zypper', '--non-interactive', 'install', '--no-recommends', ...names],
    remove: names => ['zypper', '--non-interactive', 'remove', ...names],
    list: ['rpm', '-qa', '--qf', '%{NAME}\\n'],
    simulate: names => ['zypper', '--non-interactive', 'install', '--dry-run', '--no-recommends', ...names],
    // The following 2 NEW packages are going to be installed:\n  dnsmasq system-user-dnsmasq\n
    simulated: output =>
      (/NEW packages? (?:is|are) going to be installed:\n((?: {2}.+\n?)+)/.exec(output)?.[1] ?? '')
        .split(/\s+/)
        .filter(Boolean),
  },
  apk: {
    refresh: ['apk', 'update'],
    install: names => ['apk', 'add', ...names],
    remove: names => ['apk', 'del', '--purge', ...names],
    list: ['apk', 'info', '-q'],
    simulate: names => ['apk', 'add', '--simulate', ...names],
    // (1/2) Installing dnsmasq-common (2.90-r3)
    simulated: output => allMatches(output, /^\(\d+\/\d+\) Installing (\S+)/gm),
  },
  brew: {
    refresh: ['brew', 'update'],
    asUser: true,
    install: names => ['brew', 'install', '--quiet', ...names],
    remove: names => ['brew', 'uninstall', ...names],
    list: ['brew', 'list', '--formula', '-1'],
    simulate: names => ['brew', 'install', '--dry-run', ...names],
    // ==> Would install 1 formula:\ndnsmasq
    simulated: output =>
      (/Would install \d+ (?:formulae?|dependenc(?:y|ies))[^\n]*:\n((?:[\w@.+-]+[ \n]?)+)/.exec(output)?.[1] ?? '')
        .split(/\s+/)
        .filter(Boolean),
  },
}

export const packageManagerNames = Object.keys(tools) as PackageManagerName[]

/** The command that a person would install packages with. */
export function installCommand(manager: PackageManagerName, names: readonly string[]): string[] {
  return tools[manager].install(names)
}

/** The command that takes packages away again, with the settings they brought. */
export function removeCommand(manager: PackageManagerName, names: readonly string[]): string[] {
  return tools[manager].remove(names)
}

/** Those of `names` that are not installed. */
export async function missingPackages(
  manager: PackageManagerName,
  names: readonly string[],
  asker: Runner = ask,
): Promise<string[]> {
  const { stdout } = await asker(tools[manager].list)
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
 * the machine has none. Throws where a package is not to be had.
 */
export async function packagesToInstall(
  manager: PackageManagerName,
  names: readonly string[],
  privilege: Privilege,
): Promise<string[]> {
  const { simulate, refresh, asUser } = tools[manager]
  const found = async () => packagesIn(manager, (await ask(simulate(names))).stdout)
  let all = await found()
  if (!names.every(name => all.includes(name))) {
    await (asUser ? run : privilege.run)(refresh)
    all = await found()
  }
  // a manager whose words we do not know: then just what was asked for
  return [...new Set([...names, ...all])]
}

/** Reads the names of new packages out of what the package manager prints when it only simulates. */
export function packagesIn(manager: PackageManagerName, output: string): string[] {
  return tools[manager].simulated(output)
}

/**
 * Waits for a run of the package manager that outlived the task which began it, and finishes one that was broken off in the middle: only then
 * is what it says of packages true.
 */
export async function settlePackages(manager: PackageManagerName, privilege: Privilege): Promise<void> {
  if (manager !== 'apt') return
  // takes dpkg's lock, looks, and changes nothing
  const { exitCode, stderr } = await privilege.ask(['apt-get', '-q', '-o', 'DPkg::Lock::Timeout=300', 'check'])
  if (exitCode !== 0 && stderr.includes('dpkg --configure -a'))
    await privilege.run(['env', 'DEBIAN_FRONTEND=noninteractive', 'dpkg', '--configure', '-a'])
}

/** Installs or removes packages with a command of this module. */
export async function runPackageManager(
  manager: PackageManagerName,
  command: readonly string[],
  privilege: Privilege,
): Promise<void> {
  try {
    await (tools[manager].asUser ? run : privilege.run)(command)
  } catch (error) {
    throw new PlatformError(`${manager} could not do its work`, {
      why: messageOf(error) + (error instanceof PlatformError && error.why ? `\n${error.why}` : ''),
      hint: `Run it by hand to see more: ${shown(command)}`,
    })
  }
}

function allMatches(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(match => match[1] ?? '')
}
