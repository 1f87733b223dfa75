import { appendFile, constants, open, truncate } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { ensureStateFolder } from '../platform/state-folder.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import { hintForWrite, requireTrusted } from '../system/files.ts'
import { inOrder } from '../system/in-order.ts'
import { type JournalLine, type JournalRecord, journalVersion, parseLine } from './records.ts'

/**
 * The file itself. Every record is on the disk before its change begins, and its id then goes to a second file, also before the change begins.
 * So a line cut off by a crash is one whose id is not in the second file and whose change never began, while a journal that lost lines in any
 * other way is noticed. Undo acts as root on what it says, so it is read only where nobody but its owner can write it.
 */
export interface JournalFile {
  path: string
  /** The second file. */
  begunPath: string
  /** Records still to be undone, oldest first. Writes nothing. */
  read(): Promise<JournalRecord[]>
  append(record: JournalRecord): Promise<void>
  /** Throws where it cannot be written; only writing tells on a full disk. */
  requireWritable(): Promise<void>
  /** Marks records as undone. */
  close(ids: readonly string[]): Promise<void>
}

/** The journal of a state folder; nothing is created before the first record. */
export function journalFile(stateDir: string): JournalFile {
  const path = join(stateDir, 'journal.jsonl')
  const begunPath = join(stateDir, 'journal.begun')
  // each change reads all of it, and a line that is right stays right
  const known = new Map<string, JournalLine>()
  let prepared: Promise<void> | undefined

  async function read(): Promise<JournalRecord[]> {
    // first, because records of other processes get here only after they are in the journal
    const begun = wholeLines(await readOwn(begunPath))
    const lines = parseJournal(await readOwn(path), path, known)
    requireComplete(lines, begun, path)
    const undone = new Set(lines.flatMap(line => ('undone' in line ? line.undone : [])))
    return lines.filter(line => 'kind' in line).filter(({ id }) => !undone.has(id))
  }

  const header = { journal: 'macula', version: journalVersion } as const

  async function write(...more: JournalLine[]): Promise<void> {
    prepared ??= ensureStateFolder(stateDir)
    await prepared
    await cutTornLine(path)
    const lines = (await readOwn(path)) === '' ? [header, ...more] : more
    await appendToDisk(path, lines.map(each => `${JSON.stringify(each)}\n`).join(''))
  }

  return {
    path,
    begunPath,
    read,
    // tasks that run at once in this process write one after the other
    append: record =>
      inOrder(path, async () => {
        await read()
        await write(record)
        await cutTornLine(begunPath)
        await appendToDisk(begunPath, `${record.id}\n`)
      }),
    // a header, which there may be several of
    requireWritable: () => inOrder(path, () => write(header)),
    async close(ids) {
      if (ids.length > 0) await inOrder(path, () => write({ undone: [...ids] }))
    },
  }
}

/** All whole lines; the first has to be the header. */
function parseJournal(text: string, path: string, known: Map<string, JournalLine>): JournalLine[] {
  const lines = wholeLines(text).map((line, index) => {
    try {
      const parsed = known.get(line) ?? parseLine(line)
      known.set(line, parsed)
      return parsed
    } catch (error) {
      throw damaged(`${path}:${index + 1}`, messageOf(error))
    }
  })
  const [first] = lines
  if (first === undefined) return []
  if (!('journal' in first)) throw damaged(path, 'Its first line is not a journal header')
  if (first.version > journalVersion)
    throw new PlatformError(`The journal ${path} was written by a newer version of the platform`, {
      why: `It has format ${first.version}, this version reads format ${journalVersion}`,
      hint: 'Update this checkout, then run the same command again',
    })
  return lines
}

function requireComplete(lines: readonly JournalLine[], begun: readonly string[], path: string): void {
  const known = new Set(lines.flatMap(line => ('id' in line ? [line.id] : [])))
  const lost = begun.filter(id => !known.has(id))
  if (lost.length > 0) throw damaged(path, `${lost.length} records of changes that were begun are missing from it`)
}

// what follows the last line end was cut off by a crash, or by a full disk, before its change began
function wholeLines(text: string): string[] {
  return text.split('\n').slice(0, -1)
}

/** Removes the rest of a line that was cut off, so that the next one does not continue it. */
async function cutTornLine(path: string): Promise<void> {
  const text = await readOwn(path)
  const end = text.lastIndexOf('\n') + 1
  if (end === text.length) return
  // another process may be writing that line right now
  await pause(200)
  if ((await readOwn(path)) === text)
    await truncate(path, Buffer.byteLength(text.slice(0, end))).catch(error => {
      throw notWritten(path, error)
    })
}

async function appendToDisk(path: string, text: string): Promise<void> {
  const flag = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW
  try {
    await appendFile(path, text, { mode: 0o600, flush: true, flag: flag as unknown as string })
    const folder = await open(dirname(path), 'r')
    await folder.sync().finally(() => folder.close())
  } catch (error) {
    throw notWritten(path, error)
  }
}

/** The content of a file of the journal; empty where there is none. Throws where somebody else could have written it. */
async function readOwn(path: string): Promise<string> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      requireTrusted(path, await file.stat())
      return await file.readFile('utf8')
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof PlatformError) throw error
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'ENOTDIR') return ''
    const why = code === 'ELOOP' ? 'It is a symbolic link' : messageOf(error)
    const hint = code === 'EACCES' ? 'Was it written by root? Then run this as root, too' : `ls -ld ${path}`
    throw new PlatformError(`${path} cannot be read`, { why, hint })
  }
}

function notWritten(path: string, error: unknown): PlatformError {
  return new PlatformError(`The journal ${path} cannot be written, so nothing was changed`, {
    why: messageOf(error),
    hint: hintForWrite(error, path),
  })
}

function damaged(where: string, why: string): PlatformError {
  return new PlatformError(`The journal is damaged at ${where}`, {
    why: `${why}. It says how to put this machine back, so nothing was changed.`,
    hint: 'Restore the file from a backup. Without one, read what is left of it (before: base64 of each file), restore the files by hand, then move it away',
  })
}
