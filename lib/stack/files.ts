import { lstat, readFile, rm } from 'node:fs/promises'
import { join, normalize } from 'node:path'
import type { Installation } from '../platform/installation.ts'
import type { Platform } from '../platform/platform.ts'
import { type RenderedFile, writeIfChanged } from '../platform/render.ts'
import type { Paths } from '../platform/settings.ts'
import { ensureStateFolder } from '../platform/state-folder.ts'
import { ensureFolder } from '../system/files.ts'
import { renderComposeFiles } from './compose-render.ts'
import { renderConfigs } from './config/configs.ts'
import { imagesFromFiles } from './image-store.ts'

/** Every file that the stack is run from: configurations, secrets, compose files; paths relative to the state folder. Writes nothing. */
export async function renderStackFiles(
  platform: Platform,
  installation: Installation,
  extraPorts: Readonly<Record<string, readonly string[]>>,
): Promise<RenderedFile[]> {
  const configs = await renderConfigs(platform)
  const images = await imagesFromFiles(platform.services)
  return [...configs, ...renderComposeFiles(platform, configs, installation, extraPorts, images)]
}

/**
 * Writes these files into the state folder, and removes those that an earlier run wrote and nothing renders any more. Files of other tasks and
 * the user's own, which stand beside ours, are left alone. Returns the paths that changed.
 */
export async function writeStackFiles(
  { stateDir }: Pick<Paths, 'stateDir'>,
  files: readonly RenderedFile[],
): Promise<string[]> {
  await ensureStateFolder(stateDir)
  const before = await writtenBefore(stateDir)
  const wanted = files.map(({ path }) => path)
  const left = before.filter(path => !wanted.includes(path))
  // first, so that a file is on the list before it is on the disk
  await writeManifest(stateDir, [...wanted, ...left])
  // containers run as many users, so the secrets are readable for all who get here; only the owner gets into the folder
  await ensureFolder(join(stateDir, 'secrets'), 0o700)
  const changed: string[] = []
  for (const { path, content, mode } of files)
    if ((await writeIfChanged(join(stateDir, path), content, mode)) !== 'unchanged') changed.push(path)
  for (const path of left) if (await removeFile(join(stateDir, path))) changed.push(path)
  await writeManifest(stateDir, wanted)
  return changed
}

/** Whether all of these files are in the state folder as they are. */
export async function areWritten(
  { stateDir }: Pick<Paths, 'stateDir'>,
  files: readonly RenderedFile[],
): Promise<boolean> {
  const read = ({ path }: RenderedFile) => readFile(join(stateDir, path), 'utf8').catch(() => undefined)
  const present = await Promise.all(files.map(read))
  return files.every(({ content }, index) => content === present[index])
}

const manifest = 'rendered.json'

/** What earlier runs wrote: only this is ours to remove. A list that cannot be read allows nothing to be removed. */
async function writtenBefore(stateDir: string): Promise<string[]> {
  const text = await readFile(join(stateDir, manifest), 'utf8').catch(() => '[]')
  try {
    const paths: unknown = JSON.parse(text)
    return Array.isArray(paths) ? paths.filter(isBelow) : []
  } catch {
    return []
  }
}

/** Removes a file or link; a folder of that name is not what we wrote. */
async function removeFile(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined || found.isDirectory()) return false
  await rm(path)
  return true
}

/** Whether a path is a compose file in the state folder, or stays below its `config` and `secrets`. */
function isBelow(path: unknown): path is string {
  return (
    typeof path === 'string' && normalize(path) === path && /^((config|secrets)\/|docker-compose\.[\w.]+$)/.test(path)
  )
}

async function writeManifest(stateDir: string, paths: readonly string[]): Promise<void> {
  await writeIfChanged(join(stateDir, manifest), `${JSON.stringify([...new Set(paths)].sort(), null, 2)}\n`)
}
