import { readFile } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { root } from '../system/checkout.ts'
import { badInput, type Problem } from '../system/errors.ts'
import { type ComposeSource, type ReadCompose, readComposeFile } from './compose-file.ts'
import type { Lookup } from './interpolate.ts'
import type { Paths } from './settings.ts'

/** A file that another one names, and where it does. */
interface Reference {
  path: string
  /** Folder that the relative paths in it start from. */
  folder: string
  role: 'own' | 'base'
  where: string
}

/**
 * Our compose file, the user's own if there is one, and the local files that it includes or whose services it extends, so that their services
 * are known, too. Files that cannot be read are problems; remote ones (git, OCI) are left to Compose.
 */
export async function composeSources(
  { localComposeFile }: Paths,
  lookup: Lookup,
): Promise<{ sources: ComposeSource[]; problems: Problem[] }> {
  const file = 'templates/docker-compose.yml'
  const sources: ComposeSource[] = [{ file, text: await readFile(join(root, file), 'utf8') }]
  const problems: Problem[] = []
  const text = await readFile(localComposeFile, 'utf8').catch(error => {
    if (error.code === 'ENOENT') return ''
    throw badInput(`${localComposeFile} cannot be read`, [{ where: localComposeFile, what: error.message }])
  })
  // Compose rejects a file that has only comments
  if (/^\s*[^\s#]/m.test(text)) {
    const folder = dirname(localComposeFile)
    const local = { file: basename(localComposeFile), text, path: localComposeFile }
    sources.push(...(await withReferences(local, folder, folder, lookup, problems, new Set([localComposeFile]))))
  }
  return { sources, problems }
}

async function withReferences(
  source: ComposeSource,
  folder: string,
  shownFrom: string,
  lookup: Lookup,
  problems: Problem[],
  seen: Set<string>,
): Promise<ComposeSource[]> {
  // reading takes a millisecond a service, and few files name others
  if (!/\b(include|extends)\b/.test(source.text)) return [source]
  // buildPlatform reports what is wrong with it
  const { files } = readComposeFile(source, lookup)
  const bases = new Map<string, string>()
  const found: ComposeSource[] = []
  for (const reference of files.flatMap(file => referencesOf(file, folder, bases))) {
    if (seen.has(reference.path)) continue
    seen.add(reference.path)
    const text = await readFile(reference.path, 'utf8').catch(error => {
      problems.push({ where: reference.where, what: `${reference.path} cannot be read: ${error.message}` })
      return undefined
    })
    if (text === undefined) continue
    const { path, role } = reference
    const next = { file: relative(shownFrom, path), text, path, role }
    found.push(...(await withReferences(next, reference.folder, shownFrom, lookup, problems, seen)))
  }
  return [{ ...source, bases }, ...found]
}

/** The local files that a file names; `bases` learns what the written paths of `extends` mean. */
function referencesOf({ content, locate, role }: ReadCompose, folder: string, bases: Map<string, string>): Reference[] {
  const included = ((content.include ?? []) as (string | { path?: unknown; project_directory?: unknown })[]).flatMap(
    (entry, index) => {
      const { path, project_directory } =
        typeof entry === 'string' ? { path: entry, project_directory: undefined } : entry
      return [path].flat().flatMap(each => {
        if (typeof each !== 'string' || isRemote(each)) return []
        const absolute = resolve(folder, each)
        const below = typeof project_directory === 'string' ? resolve(folder, project_directory) : dirname(absolute)
        return [{ path: absolute, folder: below, role, where: locate(['include', index]) }]
      })
    },
  )
  const extended = Object.entries(content.services ?? {}).flatMap(([name, service]) => {
    const file = typeof service.extends === 'object' ? service.extends.file : undefined
    if (typeof file !== 'string' || isRemote(file)) return []
    const path = resolve(folder, file)
    bases.set(file, path)
    return [
      { path, folder: dirname(path), role: 'base' as const, where: locate(['services', name, 'extends', 'file']) },
    ]
  })
  return [...included, ...extended]
}

function isRemote(path: string): boolean {
  return /^(oci|https?|ssh|git|github\.com|git@)/.test(path) && /[:/]/.test(path)
}
