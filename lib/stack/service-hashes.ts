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
  const { paths, compose: source } = platform
  const key = source.hasLocalFile ? undefined : await renderedKey(paths.stateDir)
  const record = join(paths.stateDir, 'compose-hashes.json')
  const kept = key === undefined ? undefined : parsed(await readFile(record, 'utf8').catch(() => ''))
  if (kept !== undefined && kept.files === key) return new Map(Object.entries(kept.services))
  const lines = await shell`docker compose config --hash ${'*'}`.lines()
  const services = lines.map(line => line.split(' ') as [string, string])
  if (key !== undefined)
    await writeIfChanged(record, `${JSON.stringify({ files: key, services: Object.fromEntries(services) })}\n`)
  return new Map(services)
}

/** One hash of all files that Compose reads. */
async function renderedKey(stateDir: string): Promise<string> {
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
