import { readFile, stat } from 'node:fs/promises'
import { PlatformError } from './errors.ts'
import { hasTool } from './exec.ts'
import type { PackageManagerName } from './packages.ts'
import { systemdRuns } from './systemd.ts'

/** Values of MACULA_OS. */
export const operatingSystems = ['auto', 'debian', 'fedora', 'arch', 'opensuse', 'alpine', 'macos'] as const

/** What kind of machine this is. */
export interface Host {
  /** One of MACULA_OS, or `unknown`. */
  os: string
  /** As the system names itself. */
  name: string
  /** What starts services at boot; `none`: nothing that we know. */
  init: 'systemd' | 'launchd' | 'none'
  /** Linux inside Windows. */
  wsl: boolean
  /** All of it in one line for people. */
  summary: string
  /** What MACULA_OS may be. */
  choices: readonly string[]
}

/** Families of distributions by ID and ID_LIKE of os-release. */
const families: Readonly<Record<string, readonly string[]>> = {
  debian: ['debian', 'ubuntu'],
  fedora: ['fedora', 'rhel', 'centos'],
  arch: ['arch'],
  opensuse: ['opensuse', 'opensuse-tumbleweed', 'opensuse-leap', 'suse', 'sles'],
  alpine: ['alpine'],
}

const managers: Readonly<Record<string, PackageManagerName>> = {
  debian: 'apt',
  fedora: 'dnf',
  arch: 'pacman',
  opensuse: 'zypper',
  alpine: 'apk',
  macos: 'brew',
}

/** Looks at this machine; MACULA_OS other than `auto` wins over what it says of itself. */
export async function detectHost(setting = 'auto', platform: string = process.platform): Promise<Host> {
  const choices = ['auto', ...Object.keys(managers)]
  if (platform === 'darwin')
    return { os: 'macos', name: 'macOS', init: 'launchd', wsl: false, summary: 'macOS, launchd, brew', choices }
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '')
  const kernel = await readFile('/proc/version', 'utf8').catch(() => '')
  const { os: found, name } = readRelease(release)
  const os = setting === 'auto' ? found : setting
  const init = (await systemdRuns()) ? 'systemd' : 'none'
  const wsl = /microsoft/i.test(kernel)
  const summary = [
    `${name}${wsl ? ' in WSL' : ''}`,
    init === 'systemd' ? 'systemd' : 'no systemd',
    managers[os] ?? 'a package manager we do not know',
  ].join(', ')
  return { os, name, init, wsl, summary, choices }
}

/** Reads the text of /etc/os-release: which family it belongs to, and what it calls itself. */
export function readRelease(text: string): { os: string; name: string } {
  const value = (key: string) => new RegExp(`^${key}=["']?([^"'\\n]*)`, 'm').exec(text)?.[1] ?? ''
  const ids = [value('ID'), ...value('ID_LIKE').split(' ')].filter(Boolean)
  const family = ids.map(id => Object.keys(families).find(name => families[name]?.includes(id))).find(Boolean)
  return { os: family ?? 'unknown', name: value('PRETTY_NAME') || value('ID') || 'an unknown system' }
}

/** The package manager of this machine. Throws where we would have to guess, with what to install by hand. */
export function packageManagerOf(host: Host, needed: string): PackageManagerName {
  const manager = managers[host.os]
  if (manager) return manager
  throw new PlatformError(`No package manager is known for ${host.name}`, {
    why: 'Its os-release names none of the families we know: debian, fedora, arch, opensuse, alpine',
    hint: `Install ${needed} by hand and run this again, or set MACULA_OS in .env to the family it belongs to`,
  })
}

/** Absolute path of a program, also of those outside an ordinary user's PATH; undefined where it is not installed. */
export async function programPath(name: string): Promise<string | undefined> {
  const folders = [
    '/usr/sbin',
    '/usr/bin',
    '/sbin',
    '/bin',
    '/usr/local/sbin',
    '/opt/homebrew/sbin',
    '/opt/homebrew/bin',
  ]
  for (const folder of folders) {
    const found = await stat(`${folder}/${name}`).catch(() => undefined)
    if (found?.isFile()) return `${folder}/${name}`
  }
  return undefined
}

/** Whether a command that belongs to root, and so may stand outside PATH, is there. */
export async function hasProgram(name: string): Promise<boolean> {
  return (await programPath(name)) !== undefined || hasTool(name)
}
