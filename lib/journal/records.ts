import { appendFile, mkdir, open, readFile, truncate } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PlatformError } from '../system/errors.ts'
import type { PathState } from '../system/files.ts'
import type { PackageManagerName } from '../system/packages.ts'
import type { ProcessIdentity } from '../system/processes.ts'

/** Format of the journal; a file with a higher number was written by a newer platform, and is not ours to guess at. */
const version = 1

/** First and last line of a part of a file that is ours, where the rest goes on being somebody else's. */
export interface Block {
  begin: string
  end: string
}

/** What can be recorded: always the state before, plus what tells our own change from somebody else's. */
export type Change =
  | { kind: 'path'; path: string; before: PathState; after: PathState; block?: Block }
  | { kind: 'directory'; path: string }
  | { kind: 'accounts'; folder: string; packages: string[] }
  | { kind: 'packages'; manager: PackageManagerName; names: string[] }
  | { kind: 'unit'; unit: string; enabled: boolean; active: boolean }
  | { kind: 'process'; name: string; command: string[] }
  | { kind: 'started'; name: string; identity: ProcessIdentity }
  | { kind: 'after-undo'; command: string[] }

export type JournalRecord = Change & { id: string; scope: string; at: string }

/**
 * The file itself. Every record is on the disk before its change begins, and its id then goes to a second file, also before
 * the change begins. So a line cut off by a crash is one whose id is not in the second file and whose change never began,
 * while a journal that lost lines in any other way is noticed.
 */
export interface JournalFile {
  path: string
  /** The second file. */
  begunPath: string
  /** Records still to be undone, oldest first. */
  read(): Promise<JournalRecord[]>
  append(record: JournalRecord): Promise<void>
  /** Marks records as undone. */
  close(ids: readonly string[]): Promise<void>
}

/** The journal of a state folder; nothing is created before the first record. */
export function journalFile(stateDir: string): JournalFile {
  const path = join(stateDir, 'journal.jsonl')
  const begunPath = join(stateDir, 'journal.begun')

  async function lines(): Promise<unknown[]> {
    // first, because records of other processes get here only after they are in the journal
    const begun = (await readOrEmpty(begunPath)).split('\n').slice(0, -1)
    const text = await readOrEmpty(path)
    const end = text.lastIndexOf('\n') + 1
    const parsed = text
      .slice(0, end)
      .split('\n')
      .slice(0, -1)
      .map((line, index) => parseLine(line, `${path}:${index + 1}`))
    if (parsed.length > 0) requireVersion(parsed[0], path)
    const known = new Set(parsed.map(line => (line as { id?: string }).id))
    const lost = begun.filter(id => !known.has(id))
    if (lost.length > 0) throw damaged(path, `${lost.length} records of changes that were begun are missing from it`)
    // the rest has no line end: a crash cut it off before its change began
    if (end < text.length && !(await isGrowing(path, text))) await truncate(path, Buffer.byteLength(text.slice(0, end)))
    return parsed.slice(1)
  }

  async function write(lines: readonly unknown[]): Promise<void> {
    const isNew = (await readOrEmpty(path)) === ''
    if (isNew) await mkdir(dirname(path), { recursive: true, mode: 0o755 })
    const header = isNew ? [{ journal: 'macula', version }] : []
    await appendToDisk(path, [...header, ...lines].map(line => `${JSON.stringify(line)}\n`).join(''))
  }

  return {
    path,
    begunPath,
    async read() {
      const undone = new Set<string>()
      const records: JournalRecord[] = []
      for (const line of (await lines()) as (JournalRecord | { undone: string[] })[]) {
        if ('undone' in line) for (const id of line.undone) undone.add(id)
        // two processes that begin at once both write the header
        else if ('kind' in line) records.push(line)
      }
      return records.filter(({ id }) => !undone.has(id))
    },
    async append(record) {
      await lines()
      await write([record])
      await appendToDisk(begunPath, `${record.id}\n`)
    },
    async close(ids) {
      if (ids.length > 0) await write([{ undone: ids }])
    },
  }
}

// another process may be writing that line right now
async function isGrowing(path: string, text: string): Promise<boolean> {
  await new Promise(resume => setTimeout(resume, 200))
  return (await readOrEmpty(path)) !== text
}

async function appendToDisk(path: string, text: string): Promise<void> {
  await appendFile(path, text, { mode: 0o600, flush: true })
  const folder = await open(dirname(path), 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

function parseLine(line: string, where: string): unknown {
  try {
    return JSON.parse(line)
  } catch (error) {
    throw damaged(where, error instanceof Error ? error.message : String(error))
  }
}

function requireVersion(header: unknown, path: string): void {
  const { journal, version: written } = header as { journal?: string; version?: number }
  if (journal !== 'macula' || typeof written !== 'number') throw damaged(path, 'Its first line is no journal header')
  if (written > version) {
    throw new PlatformError(`The journal ${path} was written by a newer version of the platform`, {
      why: `It has format ${written}, this version reads format ${version}`,
      hint: 'Update this checkout, then run the same command again',
    })
  }
}

function damaged(where: string, why: string): PlatformError {
  return new PlatformError(`The journal is damaged at ${where}`, {
    why: `${why}. It says how to put this machine back, so nothing was changed.`,
    hint: 'Restore the file from a backup. Without one, look through what is left of it (before: base64 of each file), put things back by hand, then move it away',
  })
}

async function readOrEmpty(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(error => {
    if (error.code === 'ENOENT') return ''
    throw new PlatformError(`${path} cannot be read`, {
      why: error.message,
      hint: 'Was it written by root? Then run this as root, too',
    })
  })
}
