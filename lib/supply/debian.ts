import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PlatformError } from '../system/errors.ts'
import { $ } from '../system/exec.ts'
import { firstThatExists } from '../system/files.ts'

/** A package of one Debian release, as `apt-get download` takes it. */
export interface DebianPackage {
  name: string
  suite: string
}

/** The Debian archive this machine itself installs from. */
export interface Archive {
  uri: string
  keyring: string
}

/** apt prints nothing while one package comes in; none takes this long. */
const downloadIdle = '5m'

// Debian's name since trixie first
const keyrings = ['/usr/share/keyrings/debian-archive-keyring.pgp', '/usr/share/keyrings/debian-archive-keyring.gpg']

/** Reads the archive out of apt's own configuration. Throws when this is not a Debian machine. */
export async function machineArchive(): Promise<Archive> {
  // without --no-release-info, archives count only once `apt-get update` has read them, which a fresh machine never did
  const format = '$(REPO_URI) $(COMPONENT)'
  const stdout = await $`apt-get indextargets --no-release-info --format ${format} ${'Created-By: Packages'}`.text()
  const keyring = await firstThatExists(keyrings)
  const uri = archiveIn(stdout)
  if (uri && keyring) return { uri, keyring }
  throw new PlatformError(
    uri ? "Debian's archive keyring is not installed" : 'apt knows no Debian archive on this machine',
    {
      hint: uri
        ? 'apt-get install debian-archive-keyring'
        : 'Add a Debian archive with component main to /etc/apt/sources.list.d',
    },
  )
}

/** The release this machine runs, as the archive calls it: `bookworm`. Throws when this is not a Debian machine. */
export async function machineSuite(): Promise<string> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '')
  const suite = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1]
  if (suite !== undefined && /^ID=debian$/m.test(release)) return suite
  throw new PlatformError('This is not a Debian machine', {
    hint: 'On others, bring the images: `task images -- save FILE` on a machine with a network, `task images -- load FILE` here',
  })
}

/** The archive in lines of `URI COMPONENT`: the one that is called debian, not its security or third-party neighbours. */
export function archiveIn(lines: string): string | undefined {
  const main = lines
    .split('\n')
    .map(line => line.split(' '))
    .filter(([, component]) => component === 'main')
  return main.map(([uri = '']) => uri).find(uri => /\/debian\/?$/.test(uri))
}

/** The settings of this machine's apt that say how to reach an archive (proxy, dates), for an apt of our own. */
export async function acquireSettings(): Promise<string[]> {
  const lines = await $`apt-config dump`.lines()
  return lines.filter(line => /^Acquire::(?!IndexTargets|Changelogs|cdrom)/.test(line))
}

/**
 * Unpacks packages of any Debian release into `folder`, without installing them, their dependencies, or anything else on this machine:
 * apt works with lists, a status file and a cache of its own.
 */
export async function unpackPackages(
  packages: readonly DebianPackage[],
  folder: string,
  note: (detail: string) => void,
): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'macula-apt-'))
  try {
    const APT_CONFIG = await privateApt(work, [...new Set(packages.map(({ suite }) => suite))])
    note('reading package lists')
    await $({ env: { APT_CONFIG }, idle: downloadIdle })`apt-get -q update`
    const wanted = packages.map(({ name, suite }) => `${name}/${suite}`)
    note(`downloading ${packages.map(({ name }) => name).join(', ')}`)
    const archives = join(work, 'packages')
    await mkdir(archives)
    await $({ env: { APT_CONFIG }, cwd: archives, idle: downloadIdle })`apt-get -q download ${wanted}`
    note('unpacking')
    for (const file of await readdir(archives))
      await $({ timeout: '5m' })`dpkg-deb --extract ${join(archives, file)} ${folder}`
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function privateApt(work: string, suites: readonly string[]): Promise<string> {
  const { uri, keyring } = await machineArchive()
  for (const folder of ['lists/partial', 'cache/archives/partial']) await mkdir(join(work, folder), { recursive: true })
  await writeFile(join(work, 'status'), '')
  await writeFile(
    join(work, 'sources.list'),
    suites.map(suite => `deb [signed-by=${keyring}] ${uri} ${suite} main\n`).join(''),
  )
  const settings = [
    ...(await acquireSettings()),
    // no drop-ins of the machine's: they may run programs after an update
    ...['Main', 'Parts', 'SourceParts', 'Preferences', 'PreferencesParts'].map(
      name => `Dir::Etc::${name} "/dev/null";`,
    ),
    `Dir::Etc::SourceList "${work}/sources.list";`,
    `Dir::State "${work}";`,
    `Dir::State::Lists "${work}/lists";`,
    `Dir::State::status "${work}/status";`,
    `Dir::Cache "${work}/cache";`,
    'APT::Sandbox::User "root";',
  ]
  const file = join(work, 'apt.conf')
  await writeFile(file, `${settings.join('\n')}\n`, { mode: 0o600 })
  return file
}
