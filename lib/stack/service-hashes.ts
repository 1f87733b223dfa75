import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Platform } from '../platform/platform.ts'
import { writeIfChanged } from '../platform/render.ts'
import type { Shell } from '../system/exec.ts'
import { compose } from './compose.ts'
import { composeFileNames } from './compose-render.ts'

/**
 * The hash of each service's description as Compose labels its container with it. Compose takes 0.15 s, so what it said of the same rendered
 * files is kept, where those are all it reads: a file of the user's own may name others.
 */
export async function serviceHashes(
  platform: Pick<Platform, 'paths' | 'settings' | 'compose'>,
  shell: Shell = compose(platform),
): Promise<Map<string, string>> {
  const key = await renderedKey(platform)
  const kept = key === undefined ? undefined : parsed(await readFile(recordOf(platform), 'utf8').catch(() => ''))
  if (kept !== undefined && kept.files === key) return new Map(Object.entries(kept.services))
  const lines = await shell`docker compose config --hash ${'*'}`.lines()
  const hashes = new Map(lines.map(line => line.split(' ') as [string, string]))
  await keep(platform, key, hashes)
  return hashes
}

/** Keeps the hashes of the services as the rendered files describe them now, where they are those of all of them. Never throws. */
export async function keepHashes(
  platform: Pick<Platform, 'paths' | 'compose'>,
  hashes: ReadonlyMap<string, string>,
): Promise<void> {
  await keep(platform, await renderedKey(platform).catch(() => undefined), hashes)
}

/** `files` are those that the hashes were made of. */
async function keep(
  platform: Pick<Platform, 'paths' | 'compose'>,
  files: string | undefined,
  hashes: ReadonlyMap<string, string>,
): Promise<void> {
  const isWhole = Object.keys(platform.compose.ours.services ?? {}).every(service => hashes.has(service))
  if (files === undefined || !isWhole) return
  const text = `${JSON.stringify({ files, services: Object.fromEntries([...hashes].sort()) })}\n`
  // without it the next run takes 0.15 s longer; on a full disk that is no reason for this one to fail
  await writeIfChanged(recordOf(platform), text).catch(() => {})
}

function recordOf({ paths }: Pick<Platform, 'paths'>): string {
  return join(paths.stateDir, 'compose-hashes.json')
}

/** One hash of all files that Compose reads; undefined where it may read others. */
async function renderedKey({ compose, paths }: Pick<Platform, 'paths' | 'compose'>): Promise<string | undefined> {
  if (compose.hasLocalFile) return undefined
  const { stateDir } = paths
  const hash = createHash('sha256')
  for (const file of Object.values(composeFileNames)) {
    const content = await readFile(join(stateDir, file))
    hash.update(`${content.length}\n`).update(content)
  }
  return hash.digest('hex')
}

interface Kept {
  files: string
  services: Record<string, string>
}

/** What was kept; undefined for what was cut off, or is not ours. */
function parsed(text: string): Kept | undefined {
  try {
    const kept = JSON.parse(text) as Partial<Kept> | null
    const services = kept?.services
    if (typeof kept?.files !== 'string' || typeof services !== 'object' || services === null) return undefined
    return { files: kept.files, services }
  } catch {
    return undefined
  }
}
