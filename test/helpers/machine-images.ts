import { createHash } from 'node:crypto'
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mmdebstrap, withoutManuals } from '../../lib/sandbox/mmdebstrap.ts'
import { ensureBuilt, type SupplyOptions } from '../../lib/supply/cache.ts'
import { machineArchive } from '../../lib/supply/debian.ts'
import { root } from '../../lib/system/checkout.ts'
import { contentsOf } from '../../lib/system/files.ts'
import type { Runner } from './run.ts'

/** How a machine resolves names; `workstation` is `resolved` with a Docker engine of its own. */
export const machineKinds = [
  'plain',
  'resolved',
  'resolvconf',
  'openresolv',
  'networkmanager',
  'networkmanager-dnsmasq',
  'workstation',
] as const
export type MachineKind = (typeof machineKinds)[number]

const recipes = join(root, 'test/machines')
/** The Debian release of the machines: the newest stable one, whose systemd and dnsmasq users have. */
const suite = 'trixie'

/**
 * The name of the image `target` of test/machines/Dockerfile in the engine behind `docker`; made now if the engine does not have it.
 * Takes about two minutes on an empty cache, half a minute on an empty engine, and no time after that.
 */
export async function ensureMachineImage(
  target: MachineKind | 'upstream',
  docker: Runner,
  supply: SupplyOptions,
): Promise<string> {
  const inputs = [await contentsOf(recipes), process.version, suite]
  const version = createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 12)
  const name = `macula-machine:${target}-${version}`
  if (await hasImage(name, docker)) return name
  const base = await ensureBase(version, docker, supply)
  const context = await mkdtemp(join(tmpdir(), 'macula-machine-'))
  try {
    await cp(recipes, context, { recursive: true })
    await cp(process.execPath, join(context, 'node'))
    const words = ['--network', 'none', '--build-arg', `BASE=${base}`, '--target', target, '--tag', name, context]
    await docker(['docker', 'build', '--quiet', ...words])
    // the builder would keep a copy of each context, and `node` alone is a hundred megabytes
    await docker(['docker', 'builder', 'prune', '--force', '--filter', 'type=source.local'])
  } finally {
    await rm(context, { recursive: true, force: true })
  }
  return name
}

async function ensureBase(version: string, docker: Runner, supply: SupplyOptions): Promise<string> {
  const name = `macula-machine:base-${version}`
  if (await hasImage(name, docker)) return name
  const archiveScript = join(recipes, 'archive.sh')
  const packages = await readPackages()
  const folder = await ensureBuilt(
    {
      name: 'machine-base',
      inputs: [packages, await readFile(archiveScript, 'utf8'), suite],
      build: async (folder, note) => {
        note('installing Debian packages into an empty folder')
        const { uri, keyring } = await machineArchive()
        const words = [
          ...['--variant=minbase', '--skip=cleanup/apt/lists', `--include=${packages.base.join(',')}`],
          `--customize-hook=${withoutManuals}`,
          `--customize-hook=sh ${archiveScript} "$1" ${packages.archive.map(line => `'${line}'`).join(' ')}`,
          ...[suite, join(folder, 'base.tar'), `deb [signed-by=${keyring}] ${uri} ${suite} main`],
        ]
        await mmdebstrap(words, supply)
      },
    },
    supply,
  )
  // those of other versions of the recipes: nobody asks for them again, and each takes half a gigabyte
  const { stdout } = await docker(['docker', 'image', 'ls', '--quiet', 'macula-machine'])
  const old = [...new Set(stdout.split('\n').filter(Boolean))]
  if (old.length > 0) await docker(['docker', 'image', 'rm', '--force', ...old])
  // which otherwise keeps every layer of them
  await docker(['docker', 'builder', 'prune', '--all', '--force'])
  await docker(['docker', 'import', join(folder, 'base.tar'), name])
  return name
}

async function readPackages(): Promise<{ base: string[]; archive: string[] }> {
  const lines = (await readFile(join(recipes, 'packages.txt'), 'utf8')).split('\n')
  const of = (kind: string) =>
    lines.filter(line => line.startsWith(`${kind} `)).map(line => line.slice(kind.length + 1).trim())
  return { base: of('base').flatMap(line => line.split(' ')), archive: of('archive') }
}

async function hasImage(name: string, docker: Runner): Promise<boolean> {
  return (await docker(['docker', 'image', 'ls', '--quiet', name])).stdout.trim() !== ''
}
