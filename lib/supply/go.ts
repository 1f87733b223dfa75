import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
}

export interface GoBuildOptions extends SupplyOptions {
  note: (detail: string) => void
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
  const work = await mkdtemp(join(tmpdir(), 'macula-go-'))
  try {
    options.note(`downloading ${recipe.module}@${recipe.version}`)
    const downloaded = await run([go, 'mod', 'download', '-json', `${recipe.module}@${recipe.version}`], {
      cwd: work,
    })
    const { GoMod } = JSON.parse(downloaded.stdout) as { GoMod: string }
    const upstream = JSON.parse((await run([go, 'mod', 'edit', '-json', GoMod])).stdout) as UpstreamModule
    await writeFile(join(work, 'go.mod'), goModFor(recipe, upstream))
    for (const [program, goPackage] of Object.entries(recipe.programs)) {
      options.note(`compiling ${program} ${recipe.version}`)
      await compile(go, work, goPackage, join(folder, program), options, recipe.variables)
    }
  } finally {
    await rm(work, { recursive: true, force: true })
  }
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
    await compile(go, work, '.', join(folder, program), options)
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

async function compile(
  go: string,
  work: string,
  goPackage: string,
  output: string,
  { signal }: GoBuildOptions,
  variables: Record<string, string> = {},
): Promise<void> {
  const linked = Object.entries(variables).map(([name, value]) => `-X ${name}=${value}`)
  const options = ['-mod=mod', '-trimpath', '-ldflags', ['-s -w', ...linked].join(' '), '-o', output]
  // a compile takes minutes on all processors; whoever works on this machine goes first
  await runBoundToUs(['nice', '-n', '10', go, 'build', ...options, goPackage], {
    cwd: work,
    // no other compiler than this one is downloaded, whatever a module asks for
    env: { CGO_ENABLED: '0', GOTOOLCHAIN: 'local' },
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
