import { cp, mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { PlatformError } from '../system/errors.ts'
import { $, lastLines } from '../system/exec.ts'
import { boundToUs } from './bound.ts'
import { ensureBuilt, type SupplyOptions, withAll, withOneOf } from './cache.ts'
import { type DebianPackage, unpackPackages } from './debian.ts'
import { overLostNetwork } from './retry.ts'
import { removeFolder } from './sizes.ts'

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
  /** Told once when all compile slots are taken. */
  waiting?: () => void
  /** Compiles without optimising or debug information: in half the time, for programs that only have to run in a sandbox. */
  quick?: boolean
  /** Milliseconds between attempts where the network is lost half way. */
  pausesMs?: readonly number[]
}

/** What `quick` adds for every package. Part of what decides how a program comes out. */
export const quickFlags = 'all=-dwarf=false -N -l'

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

/** A Go compiler at work on one module in a folder of its own. */
interface Workshop {
  go: string
  /** Holds the go.mod. */
  folder: string
  /** Where Go keeps what it downloads and compiles, and that it takes no other compiler than this one, whatever a module wants. */
  env: Record<string, string>
}

/** A module's go.mod and sources may be hundreds of megabytes; what ends a download is silence. */
const downloadIdle = '5m'

/**
 * Compiles a recipe's programs into `folder`. `go install PACKAGE@VERSION` refuses modules with replace lines, which most big
 * programs have; a module of our own that requires the program and repeats those lines is built instead.
 */
export async function buildGoPrograms(recipe: GoRecipe, folder: string, options: GoBuildOptions): Promise<void> {
  await inWorkshop(options, async workshop => {
    const module = `${recipe.module}@${recipe.version}`
    options.note(`downloading ${module}`)
    const { GoMod } = await overLostNetwork(() => downloadModule(workshop, module), options)
    const upstream: UpstreamModule = await $`${workshop.go} mod edit -json ${GoMod}`.json()
    await writeFile(join(workshop.folder, 'go.mod'), goModFor(recipe, upstream))
    await replaceAll(workshop, recipe.replaced, options)
    options.note(`compiling ${Object.keys(recipe.programs).join(', ')} ${recipe.version}`)
    await compile(workshop, recipe.programs, folder, options, recipe.variables)
  })
}

/** Compiles the program whose source is `source`, a folder with a go.mod, as `program` in `folder`; `replaced` as in a recipe. */
export async function buildGoFolder(
  source: string,
  program: string,
  folder: string,
  options: GoBuildOptions,
  replaced?: GoRecipe['replaced'],
): Promise<void> {
  await inWorkshop(options, async workshop => {
    await cp(source, workshop.folder, { recursive: true })
    await replaceAll(workshop, replaced, options)
    options.note(`compiling ${program}`)
    await compile(workshop, { [program]: '.' }, folder, options)
  })
}

/** Compiles at a time on one machine, over all processes: each of them keeps two processors busy and takes 2 to 4 GB of memory. */
export const compilesAtOnce = 2

/** Below the cache, where it can be pruned without touching anybody's own. */
function goFolder(cacheDir: string): string {
  return join(cacheDir, 'go')
}

/** Go's own variables for everything that is downloaded and compiled here; no other compiler is fetched, whatever a module asks for. */
export function goEnvironment(cacheDir: string): Record<string, string> {
  const kept = goFolder(cacheDir)
  return { GOCACHE: join(kept, 'build'), GOMODCACHE: join(kept, 'mod'), GOTOOLCHAIN: 'local', CGO_ENABLED: '0' }
}

function compileSlots(cacheDir: string): string[] {
  return Array.from({ length: compilesAtOnce }, (_, number) => join(cacheDir, 'locks', `compile-${number + 1}`))
}

function inWorkshop(options: GoBuildOptions, work: (workshop: Workshop) => Promise<void>): Promise<void> {
  const { cacheDir, waiting = () => {} } = options
  return withOneOf(compileSlots(cacheDir), waiting, async () => {
    const go = await goCompiler(options)
    const folder = await mkdtemp(join(tmpdir(), 'macula-go-'))
    const kept = goFolder(cacheDir)
    await mkdir(kept, { recursive: true })
    // when it was last used
    await utimes(kept, new Date(), new Date())
    try {
      await work({ go, folder, env: goEnvironment(cacheDir) })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
}

/** Does something with Go's caches, which are not pruned meanwhile. */
export function usingGoCaches<T>(cacheDir: string, action: () => Promise<T>): Promise<T> {
  return withOneOf(compileSlots(cacheDir), () => {}, action)
}

/**
 * Removes the modules and objects that compiling has left, unless something is compiled right now or, with `unusedSince`, has been since then.
 * Returns the bytes that are free again; nobody's own Go caches are touched.
 */
export async function pruneGoCaches(cacheDir: string, unusedSince = new Date()): Promise<number> {
  const folder = goFolder(cacheDir)
  const freed = await withAll(compileSlots(cacheDir), async () => {
    const found = await stat(folder).catch(() => undefined)
    return found !== undefined && found.mtime > unusedSince ? 0 : removeFolder(folder)
  })
  return freed ?? 0
}

async function downloadModule({ go, folder, env }: Workshop, module: string): Promise<{ GoMod: string; Dir: string }> {
  const download = $({ cwd: folder, env, idle: downloadIdle, nothrow: true })
  const { exitCode, stdout, stderr } = await download`${go} mod download -json ${module}`
  if (exitCode === 0) return JSON.parse(stdout)
  throw new PlatformError(`The Go module ${module} cannot be fetched`, {
    why: stdout.trim().startsWith('{') ? (JSON.parse(stdout) as { Error: string }).Error : lastLines(stderr),
    hint: 'Set GOPROXY to a proxy for Go modules that this machine reaches',
  })
}

async function replaceAll(workshop: Workshop, replaced: GoRecipe['replaced'], options: GoBuildOptions): Promise<void> {
  for (const [module, packages] of Object.entries(replaced ?? {}))
    await overLostNetwork(() => replacePackages(workshop, module, packages), options)
}

/** Puts a copy of `module` into the build, with the packages of folder `packages` in the place of its own. */
async function replacePackages(workshop: Workshop, module: string, packages: string): Promise<void> {
  const { Dir } = await downloadModule(workshop, module)
  const copy = join(workshop.folder, 'replaced', module)
  await mkdir(dirname(copy), { recursive: true })
  // Go keeps its modules read-only
  await $`cp --recursive --no-preserve=mode ${Dir} ${copy}`
  const files = await readdir(packages, { recursive: true, withFileTypes: true })
  const folders = new Set(files.filter(file => file.isFile()).map(({ parentPath }) => parentPath))
  for (const folder of folders) await rm(join(copy, folder.slice(packages.length)), { recursive: true, force: true })
  await cp(packages, copy, { recursive: true })
  await $({ cwd: workshop.folder })`${workshop.go} mod edit ${`-replace=${module}=${copy}`}`
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
  { go, folder: cwd, env }: Workshop,
  programs: Record<string, string>,
  folder: string,
  options: GoBuildOptions,
  variables: Record<string, string> = {},
): Promise<void> {
  const { signal, note, quick = false } = options
  const linked = Object.entries(variables).map(([name, value]) => `-X ${name}=${value}`)
  const linker = ['-ldflags', ['-s -w', ...linked].join(' ')]
  const compiler = quick ? ['-gcflags', quickFlags] : []
  const [name, ...others] = Object.keys(programs)
  // several get the names of their packages, which the recipe repeats
  const output = others.length === 0 ? join(folder, name!) : `${folder}/`
  const packages = Object.values(programs)
  const onLine = progressOf(packages, note)
  // a compile keeps all processors busy for minutes; other work on this machine has priority
  const build = ['nice', '-n', '10', go, 'build', '-v', '-mod=mod', '-trimpath', ...linker, ...compiler]
  await overLostNetwork(
    async () => void (await boundToUs({ cwd, env, signal, onLine })`${build} -o ${output} ${packages}`),
    options,
  )
}

/** Go names each package when it begins to compile it; a program's own one is its last, and then it is linked. */
function progressOf(programs: readonly string[], note: GoBuildOptions['note']): (line: string) => void {
  let compiled = 0
  return line => {
    if (line.startsWith('go: ')) return note('downloading modules')
    compiled += 1
    if (programs.includes(line)) note(`linking ${line.split('/').at(-1)}`)
    else if (compiled % 10 === 0) note(`compiling, ${compiled} packages done`)
  }
}

/** The machine's own Go; undefined where it has none, or one that is too old for the recipes. */
export async function machineGo(): Promise<string | undefined> {
  const { stdout } = await $({ nothrow: true })`go env GOVERSION`.catch(() => ({ stdout: '' }))
  const [major = 0, minor = 0] = (/^go(\d+)\.(\d+)/.exec(stdout)?.slice(1) ?? []).map(Number)
  return major > oldestGo[0] || (major === oldestGo[0] && minor >= oldestGo[1]) ? 'go' : undefined
}

/** The machine's own Go where it is new enough, else Debian's, unpacked into the cache. */
export async function goCompiler(options: SupplyOptions): Promise<string> {
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
