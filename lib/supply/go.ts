import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ask, run } from '../system/exec.ts'
import { runBoundToUs } from './bound.ts'
import { ensureBuilt, type SupplyOptions } from './cache.ts'
import { type DebianPackage, unpackPackages } from './debian.ts'

/** Programs out of one published Go module. */
export interface GoRecipe {
  module: string
  version: string
  /** Program name → package path. */
  programs: Record<string, string>
  /** String variables set while linking, as `-X` takes them: what the program reports as its version. */
  variables?: Record<string, string> | undefined
  /** Version of the modules that the upstream replaces with folders of its own repository. */
  foldersAre?: string | undefined
  /** Module → folder of packages that are compiled in the place of the module's own, at the same paths below it. */
  replaced?: Record<string, string> | undefined
}

export interface GoBuildOptions extends SupplyOptions {
  note: (detail: string) => void
  /** Compiles without optimising or debug information: in half the time, for programs that only have to run in a sandbox. */
  quick?: boolean
}

/** What `quick` adds for every package. Part of what decides how a program comes out. */
export const quickFlags = 'all=-dwarf=false -N -l'

/** Variables under which Go keeps what it downloads and compiles below our own cache, where it can be pruned without touching anybody's. */
function goFolders(cacheDir: string): Record<string, string> {
  return { GOCACHE: join(cacheDir, 'go', 'build'), GOMODCACHE: join(cacheDir, 'go', 'mod') }
}

/** The part of `go mod edit -json` that a module has to repeat to build another one. */
export interface UpstreamModule {
  Go?: string
  Replace?: { Old: ModuleVersion; New: ModuleVersion }[] | null
  Exclude?: ModuleVersion[] | null
}

interface ModuleVersion {
  Path: string
  Version?: string
}

/** Oldest Go that the recipes' modules accept. */
const oldestGo = [1, 25] as const

/** Debian's compiler without its C toolchain: nothing here needs C. */
const goPackages: readonly DebianPackage[] = [
  { name: 'golang-1.26-go', suite: 'sid' },
  { name: 'golang-1.26-src', suite: 'sid' },
]

/**
 * Compiles a recipe's programs into `folder`. `go install PACKAGE@VERSION` refuses modules with replace lines, which most big
 * programs have; a module of our own that requires the program and repeats those lines is built instead.
 */
export async function buildGoPrograms(recipe: GoRecipe, folder: string, options: GoBuildOptions): Promise<void> {
  const go = await goCompiler(options)
  const env = goFolders(options.cacheDir)
  const work = await mkdtemp(join(tmpdir(), 'macula-go-'))
  try {
    options.note(`downloading ${recipe.module}@${recipe.version}`)
    const { GoMod } = await downloadModule(go, `${recipe.module}@${recipe.version}`, work, env)
    const upstream = JSON.parse((await run([go, 'mod', 'edit', '-json', GoMod])).stdout) as UpstreamModule
    await writeFile(join(work, 'go.mod'), goModFor(recipe, upstream))
    for (const [module, packages] of Object.entries(recipe.replaced ?? {}))
      await replacePackages(go, module, packages, work, env)
    options.note(`compiling ${Object.keys(recipe.programs).join(', ')} ${recipe.version}`)
    await compile(go, work, recipe.programs, folder, options, recipe.variables)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function downloadModule(
  go: string,
  module: string,
  work: string,
  env: Record<string, string>,
): Promise<{ GoMod: string; Dir: string }> {
  const { stdout } = await run([go, 'mod', 'download', '-json', module], { cwd: work, env })
  return JSON.parse(stdout) as { GoMod: string; Dir: string }
}

/** Puts a copy of `module` into the build, with the packages of folder `packages` in the place of its own. */
async function replacePackages(
  go: string,
  module: string,
  packages: string,
  work: string,
  env: Record<string, string>,
): Promise<void> {
  const { Dir } = await downloadModule(go, module, work, env)
  const copy = join(work, 'replaced', module)
  await run(['mkdir', '-p', dirname(copy)])
  // Go keeps its modules read-only
  await run(['cp', '--recursive', '--no-preserve=mode', Dir, copy])
  const files = await readdir(packages, { recursive: true, withFileTypes: true })
  const folders = new Set(files.filter(file => file.isFile()).map(({ parentPath }) => parentPath))
  for (const folder of folders) await rm(join(copy, folder.slice(packages.length)), { recursive: true, force: true })
  await cp(packages, copy, { recursive: true })
  await run([go, 'mod', 'edit', `-replace=${module}=${copy}`], { cwd: work })
}

/** Compiles the program whose source is `source`, a folder with a go.mod, as `program` in `folder`. */
export async function buildGoFolder(
  source: string,
  program: string,
  folder: string,
  options: GoBuildOptions,
): Promise<void> {
  const go = await goCompiler(options)
  const work = await mkdtemp(join(tmpdir(), 'macula-go-'))
  try {
    await cp(source, work, { recursive: true })
    options.note(`compiling ${program}`)
    await compile(go, work, { [program]: '.' }, folder, options)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** The go.mod of a module that builds `recipe` with the versions its authors build it with. */
export function goModFor({ module, version, foldersAre }: GoRecipe, { Go, Replace, Exclude }: UpstreamModule): string {
  const lines = ['module macula.local/standin', '', `go ${Go ?? '1.21'}`, '', `require ${module} ${version}`]
  for (const { Old, New } of Replace ?? []) {
    const replaced = Old.Version ? `${Old.Path} ${Old.Version}` : Old.Path
    if (New.Version) lines.push(`replace ${replaced} => ${New.Path} ${New.Version}`)
    else if (foldersAre) lines.push(`replace ${replaced} => ${Old.Path} ${foldersAre}`)
  }
  for (const { Path, Version } of Exclude ?? []) lines.push(`exclude ${Path} ${Version}`)
  return `${lines.join('\n')}\n`
}

/** Compiles all programs in one command, so that what they share is compiled once; `programs`: name of the executable → package. */
async function compile(
  go: string,
  work: string,
  programs: Record<string, string>,
  folder: string,
  { cacheDir, signal, quick = false }: GoBuildOptions,
  variables: Record<string, string> = {},
): Promise<void> {
  const linked = Object.entries(variables).map(([name, value]) => `-X ${name}=${value}`)
  const names = Object.keys(programs)
  const options = [
    ...['-mod=mod', '-trimpath', '-ldflags', ['-s -w', ...linked].join(' ')],
    ...(quick ? ['-gcflags', quickFlags] : []),
    // several get the names of their packages, which the recipe repeats
    ...['-o', names.length === 1 ? join(folder, names[0]!) : `${folder}/`],
  ]
  // a compile takes minutes on all processors; whoever works on this machine goes first
  await runBoundToUs(['nice', '-n', '10', go, 'build', ...options, ...Object.values(programs)], {
    cwd: work,
    // no other compiler than this one is downloaded, whatever a module asks for
    env: { ...goFolders(cacheDir), CGO_ENABLED: '0', GOTOOLCHAIN: 'local' },
    ...(signal ? { signal } : {}),
  })
}

/** The machine's own Go; undefined where it has none, or one that is too old for the recipes. */
export async function machineGo(): Promise<string | undefined> {
  const { stdout } = await ask(['go', 'env', 'GOVERSION']).catch(() => ({ stdout: '' }))
  const [major = 0, minor = 0] = (/^go(\d+)\.(\d+)/.exec(stdout)?.slice(1) ?? []).map(Number)
  return major > oldestGo[0] || (major === oldestGo[0] && minor >= oldestGo[1]) ? 'go' : undefined
}

/** The machine's own Go where it is new enough, else Debian's, unpacked into the cache. */
async function goCompiler(options: SupplyOptions): Promise<string> {
  const own = await machineGo()
  if (own !== undefined) return own
  const folder = await ensureBuilt(
    {
      name: 'go',
      inputs: goPackages,
      build: (folder, note) => unpackPackages(goPackages, folder, note),
    },
    options,
  )
  return join(folder, 'usr/lib/go-1.26/bin/go')
}
