import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PlatformError } from '../errors.ts'
import { ask, run } from '../exec.ts'

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

export interface GoBuildOptions {
  note: (detail: string) => void
  signal?: AbortSignal | undefined
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

/**
 * Compiles a recipe's programs into `folder`. `go install PACKAGE@VERSION` refuses modules with replace lines, which most big
 * programs have; a module of our own that requires the program and repeats those lines is built instead.
 */
export async function buildGoPrograms(
  recipe: GoRecipe,
  folder: string,
  { note, signal }: GoBuildOptions,
): Promise<void> {
  await requireGo()
  const work = await mkdtemp(join(tmpdir(), 'macula-go-'))
  try {
    note(`downloading ${recipe.module}@${recipe.version}`)
    const downloaded = await run(['go', 'mod', 'download', '-json', `${recipe.module}@${recipe.version}`], {
      cwd: work,
    })
    const { GoMod } = JSON.parse(downloaded.stdout) as { GoMod: string }
    const upstream = JSON.parse((await run(['go', 'mod', 'edit', '-json', GoMod])).stdout) as UpstreamModule
    await writeFile(join(work, 'go.mod'), goModFor(recipe, upstream))
    for (const [program, goPackage] of Object.entries(recipe.programs)) {
      note(`compiling ${program} ${recipe.version}`)
      await compile(work, goPackage, join(folder, program), recipe.variables, signal)
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
  { note, signal }: GoBuildOptions,
): Promise<void> {
  await requireGo()
  const work = await mkdtemp(join(tmpdir(), 'macula-go-'))
  try {
    await cp(source, work, { recursive: true })
    note(`compiling ${program}`)
    await compile(work, '.', join(folder, program), {}, signal)
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
  work: string,
  goPackage: string,
  output: string,
  variables: Record<string, string> = {},
  signal: AbortSignal | undefined,
): Promise<void> {
  const linked = Object.entries(variables).map(([name, value]) => `-X ${name}=${value}`)
  const options = ['-mod=mod', '-trimpath', '-ldflags', ['-s -w', ...linked].join(' '), '-o', output]
  // a compile takes minutes on all processors; whoever works on this machine goes first
  await run(['nice', '-n', '10', 'go', 'build', ...options, goPackage], {
    cwd: work,
    env: { CGO_ENABLED: '0' },
    ...(signal ? { signal } : {}),
  })
}

async function requireGo(): Promise<void> {
  const { exitCode, stdout, stderr } = await ask(['go', 'env', 'GOVERSION'])
  const [major = 0, minor = 0] = (/^go(\d+)\.(\d+)/.exec(stdout)?.slice(1) ?? []).map(Number)
  if (exitCode === 0 && (major > oldestGo[0] || (major === oldestGo[0] && minor >= oldestGo[1]))) return
  throw new PlatformError(
    `Go ${oldestGo.join('.')} or newer is needed to compile stand-ins; this machine has ${stdout.trim() || 'none'}`,
    {
      why: stderr.trim() || undefined,
      hint: 'Install Go from https://go.dev/dl and put it on PATH',
    },
  )
}
