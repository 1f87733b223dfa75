import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Platform } from '../platform/platform.ts'
import { type Paths, toolsFolder } from '../platform/settings.ts'
import { type InstallOptions, releases, supplyRelease, type ToolName } from '../supply/releases.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import { $ } from '../system/exec.ts'
import { exists } from '../system/files.ts'
import { requireKindProgram, requireKubectl } from './versions.ts'

/**
 * kind and kubectl as CLUSTER_TOOLS says: those on PATH, or releases of our own in the state folder, which every task finds before those on PATH.
 * Going back to `path` removes ours. Throws where a program is still missing, or too old for the node image.
 */
export async function ensureTools(
  { settings, paths }: Pick<Platform, 'settings' | 'paths'>,
  options: InstallOptions = {},
): Promise<'unchanged' | 'created' | 'updated' | 'removed'> {
  const wanted: ToolName[] = settings.CLUSTER === 'kind' ? ['kind', 'kubectl'] : ['kubectl']
  const outcome =
    settings.CLUSTER_TOOLS === 'install' ? await installAll(wanted, paths, options) : await removeTools(paths)
  await Promise.all([
    settings.CLUSTER === 'kind' ? requireKindProgram(settings.KIND_NODE_IMAGE) : undefined,
    requireKubectl(),
  ])
  return outcome
}

/** Why this machine's own kind and kubectl cannot be used, in a sentence each; empty where they can. */
export async function lackingTools(nodeImage: string): Promise<string[]> {
  const looks = [requireKindProgram(nodeImage), requireKubectl()]
  const results = await Promise.allSettled(looks)
  return results.flatMap(result => (result.status === 'rejected' ? [messageOf(result.reason)] : []))
}

async function installAll(
  names: readonly ToolName[],
  paths: Paths,
  options: InstallOptions,
): Promise<'unchanged' | 'created' | 'updated'> {
  const results = await Promise.allSettled(names.map(name => ensureTool(name, paths, options)))
  const outcomes = results.map(result => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
  if (outcomes.every(outcome => outcome === 'unchanged')) return 'unchanged'
  return outcomes.includes('updated') ? 'updated' : 'created'
}

async function ensureTool(name: ToolName, paths: Paths, options: InstallOptions) {
  const file = join(toolsFolder(paths), name)
  const before = await versionOf(name, file)
  if (before === releases[name].version) return 'unchanged'
  // written aside and moved at the end: a program that is there is whole
  const folder = `${file}.new`
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  try {
    await supplyRelease(name, folder, paths.cacheDir, options)
    await rename(join(folder, name), file)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  const after = await versionOf(name, file)
  if (after !== releases[name].version)
    throw new PlatformError(`${file} is not the pinned ${name}`, {
      why: `It ${after === undefined ? 'does not run' : `reports version ${after}`}; the pinned version is ${releases[name].version}`,
      hint: `rm ${file}   # then run this again`,
    })
  return before === undefined ? 'created' : 'updated'
}

/** The version that a program of ours reports; undefined where there is none that runs. */
async function versionOf(name: ToolName, file: string): Promise<string | undefined> {
  if (!(await stat(file).catch(() => undefined))?.isFile()) return undefined
  const { asked, answer } = releases[name]
  const { stdout } = await $({ nothrow: true })`${file} ${asked}`.catch(() => ({ stdout: '' }))
  return answer.exec(stdout)?.[1]
}

async function removeTools(paths: Paths): Promise<'unchanged' | 'removed'> {
  const folder = toolsFolder(paths)
  if (!(await exists(folder))) return 'unchanged'
  await rm(folder, { recursive: true })
  return 'removed'
}
