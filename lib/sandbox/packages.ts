import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { PlatformError } from '../system/errors.ts'
import { $, hasTool } from '../system/exec.ts'
import { missingPackages } from '../system/packages.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import { type Namespace, shellInside } from './namespace.ts'
import type { Store } from './store.ts'

/** What the sandbox's own engine needs, and what one looks around with in it. Installed inside where the machine lacks it. */
const ownPackages = ['iproute2', 'iptables', 'procps', 'curl', 'bind9-dnsutils']
/** What the workflow installs, which cannot fetch anything inside. */
const workflowPackages = ['dnsmasq-base', 'socat']
const required: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  iptables: 'iptables',
  dnsmasq: 'dnsmasq',
  socat: 'socat',
}

/** Packages of the machine's own release that a sandbox brings along; empty on a machine that has them all. */
export interface SandboxPackages {
  /** To install before anything else runs inside. */
  install: string[]
  /** To have at hand, for the workflow to install. */
  offer: string[]
}

/**
 * Fetches the packages that a sandbox needs and this machine does not have into the store; the machine itself is not changed.
 * Throws with the programs to install where the machine's package manager is not apt.
 */
export async function fetchPackages(store: Store, note: (detail: string) => void): Promise<SandboxPackages> {
  if (!(await hasTool('apt-get'))) return requireTools()
  const install = await missingPackages('apt', ownPackages)
  const offer = await missingPackages('apt', workflowPackages)
  const all = [...install, ...offer]
  if (all.length === 0) return { install, offer }
  const { lists, archives } = foldersOf(store)
  for (const folder of [lists, archives]) await mkdir(join(folder, 'partial'), { recursive: true })
  const apt = [
    ...['apt-get', '-q', '-y', '-o', `Dir::State::Lists=${lists}`, '-o', `Dir::Cache::Archives=${archives}`],
    // the machine's apt may be busy with its own folders; these are ours, and the user apt drops to cannot enter them
    ...['-o', 'Debug::NoLocking=true', '-o', 'APT::Sandbox::User=root'],
  ]
  note('reading package lists')
  await $({ idle: '5m' })`${apt} update`
  note(`downloading ${all.join(', ')}`)
  await $({ idle: '5m' })`${apt} install --download-only --no-install-recommends ${all}`
  return { install, offer }
}

/** Held while packages are installed or removed; a copy of the machine that is made meanwhile has dpkg's state of the middle of it. */
const dpkgLocks: readonly string[] = ['/var/lib/dpkg/lock', '/var/lib/dpkg/lock-frontend']
/** The longest upgrade that is worth waiting for. */
const packageManagerMs = 15 * 60_000

/**
 * Waits until this machine's own package manager has ended, an unattended upgrade, say. Throws with who holds the lock when it has not after a
 * quarter of an hour. Returns at once on machines without dpkg.
 */
export async function waitForPackageManager(
  note: (detail: string) => void,
  { locks = dpkgLocks, timeoutMs = packageManagerMs }: { locks?: readonly string[]; timeoutMs?: number } = {},
): Promise<void> {
  await waitFor(
    async () => {
      const holder = await holderOf(locks)
      if (holder === undefined) return true
      note(`waiting for the package manager of this machine: ${holder}`)
      return new NotYet(holder)
    },
    {
      timeoutMs,
      pauseMs: 500,
      onTimeout: holder =>
        new PlatformError(`The package manager of this machine has been at work for ${timeoutMs / 60_000} minutes`, {
          why: `${locks[0]} is held by ${holder}`,
          hint: 'Start the sandbox again when that is done',
        }),
    },
  )
}

/** `apt-get (process 123)`; undefined where nobody holds any of these locks. */
async function holderOf(files: readonly string[]): Promise<string | undefined> {
  const { stdout } = await $({ nothrow: true })`lslocks --json --notruncate --output COMMAND,PID,PATH`
  const { locks = [] } = JSON.parse(stdout || '{}') as { locks?: { command: string; pid: number; path: string }[] }
  const held = locks.find(({ path }) => files.includes(path))
  return held && `${held.command} (process ${held.pid})`
}

/** Where they are inside. Not in apt's own folder: Debian's container images empty that one after each installation. */
const archivesInside = '/var/cache/macula-packages'

/** Hands fetched packages to the sandbox's apt and installs those that have to be there first. */
export async function bringPackages(
  store: Store,
  { init }: Namespace,
  { install, offer }: SandboxPackages,
): Promise<void> {
  if (install.length + offer.length === 0) return
  const { lists, archives } = foldersOf(store)
  const inside = shellInside(init, { environment: { DEBIAN_FRONTEND: 'noninteractive' } })
  await inside`mount --bind ${lists} /var/lib/apt/lists`
  await inside`mkdir ${archivesInside}`
  await inside`mount --bind ${archives} ${archivesInside}`
  await inside({
    input: `Dir::Cache::archives "${archivesInside}";\n`,
  })`tee /etc/apt/apt.conf.d/99macula-sandbox`
  if (install.length === 0) return
  await inside({ timeout: '5m' })`apt-get -q -y install --no-download --no-install-recommends ${install}`
}

function foldersOf(store: Store) {
  return { lists: join(store.folder, 'packages/lists'), archives: join(store.folder, 'packages/archives') }
}

async function requireTools(): Promise<SandboxPackages> {
  const missing: string[] = []
  for (const [tool, name] of Object.entries(required)) if (!(await hasTool(tool))) missing.push(name)
  if (missing.length === 0) return { install: [], offer: [] }
  throw new PlatformError(`A sandbox needs programs this machine does not have: ${missing.join(', ')}`, {
    why: 'There is no network inside to install them from; on Debian they would be brought along',
    hint: `Install ${missing.join(' ')} with your package manager, then run this again`,
  })
}
