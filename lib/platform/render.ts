import { createHash } from 'node:crypto'
import { chmod, lstat, readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { root } from '../system/checkout.ts'
import { PlatformError } from '../system/errors.ts'
import { ensureFolder, replaceFile } from '../system/files.ts'

/** A file to write: where, what, and who may read it. */
export interface RenderedFile {
  /** Relative to the state folder, or absolute. */
  path: string
  content: string
  /** Permission bits; 0o644 unless said otherwise. */
  mode?: number
}

/** The text of a file under `templates/`. */
export async function readTemplate(path: string): Promise<string> {
  return readFile(join(root, 'templates', path), 'utf8')
}

/** Names of the files in a folder under `templates/`, in a fixed order. */
export async function templatesIn(folder: string): Promise<string[]> {
  return (await readdir(join(root, 'templates', folder))).sort()
}

/**
 * Replaces each `{{name}}` of a template with its value. Throws on a placeholder without a value and on a value without a placeholder:
 * either is a mistake in the template or in its caller.
 */
export function fillTemplate(template: string, values: Readonly<Record<string, string>>, path = 'template'): string {
  const used = new Set<string>()
  const text = template.replace(/\{\{(\w+)\}\}/g, (placeholder, name) => {
    const value = values[name]
    if (value === undefined)
      throw new PlatformError(`${path} has the placeholder ${placeholder}, but there is no value for it`)
    used.add(name)
    return value
  })
  const unused = Object.keys(values).filter(name => !used.has(name))
  if (unused.length > 0) throw new PlatformError(`${path} has no placeholder for ${unused.join(', ')}`)
  return text
}

/**
 * Writes a file only where its content or mode differs, in one step. A link is replaced, never followed. Missing folders are created with
 * `folderMode`; both modes hold whatever the umask.
 */
export async function writeIfChanged(
  path: string,
  content: string,
  mode = 0o644,
  folderMode = 0o755,
): Promise<'unchanged' | 'created' | 'updated'> {
  const found = await lstat(path).catch(() => undefined)
  const isFile = found?.isFile() ?? false
  if (isFile && (await readFile(path, 'utf8').catch(() => undefined)) === content) {
    if ((found!.mode & 0o7777) === mode) return 'unchanged'
    await chmod(path, mode)
    return 'updated'
  }
  await ensureFolder(dirname(path), folderMode)
  await replaceFile(path, content, { mode })
  return found === undefined ? 'created' : 'updated'
}

/** Short hash of texts, to see whether any of them changed. */
export function hashOf(...texts: string[]): string {
  const hash = createHash('sha256')
  for (const text of texts) hash.update(text).update('\0')
  return hash.digest('hex').slice(0, 12)
}
