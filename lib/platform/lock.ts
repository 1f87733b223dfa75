import { readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, messageOf, PlatformError } from '../system/errors.ts'
import { ensureFolder, exists, hintForWrite } from '../system/files.ts'
import { ancestorsOf, identityOf } from '../system/processes.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import { requireStateFolder } from './state-folder.ts'

export interface LockRequest {
  /** Shown to whoever has to wait. */
  task: string
  /** The process that the lock belongs to until it ends, and that whatever it starts shares; this process, until the release, unless said otherwise. */
  workflow?: number | undefined
  /** How long to wait for another holder; 0 means for as long as it takes. */
  waitMs: number
  /** Told once, where somebody else holds it. */
  onWait?: (holder: string) => void
}

/** The longest that a timer takes, 24 days. */
const foreverMs = 2 ** 31 - 1

/** Gives the lock back. */
export type Release = () => Promise<void>

// Lamport's bakery: each process takes a ticket higher than all it sees, and it is the turn of the lowest ticket of a process that lives. A file is
// only ever removed by its owner, or when its owner is dead, and nobody gets the pid and the start time of a dead process again: so there is no
// moment in which two processes that find a stale lock can take it from each other, as there is with one lock file.
interface Ticket {
  file: string
  /** undefined while its owner is still choosing a number. */
  number: number | undefined
  /** pid and start time */
  owner: string
}

/**
 * Takes the one lock of an installation, under which everything is written that belongs to it. Whoever is started by the holder shares it: tasks
 * of one workflow. A lock whose holder is dead is free. Throws, naming the holder, when the time to wait is over.
 */
export async function acquireLock(stateDir: string, { task, workflow, waitMs, onWait }: LockRequest): Promise<Release> {
  await requireStateFolder(stateDir)
  const isNew = !(await exists(stateDir))
  const folder = join(stateDir, 'lock')
  const [owner] = await keysOf([workflow ?? process.pid])
  if (owner === undefined) throw new PlatformError(`Process ${workflow}, which started ${task}, has ended`)
  const sharing = [owner, ...(await keysOf(await ancestorsOf(process.pid)))]
  let isOurs = false
  let isTold = false
  let others: Ticket[] = []
  const release = async () => {
    if (!isOurs || workflow !== undefined) return
    for (const { file } of (await ticketsIn(folder)).filter(ticket => ticket.owner === owner))
      await rm(join(folder, file), { force: true })
    // not where others have their tickets, or anything else stands
    for (const empty of isNew ? [folder, stateDir] : [folder]) await rmdir(empty).catch(() => {})
  }
  // waitFor would go on after an error; one of the file system does not pass
  let refused: unknown
  const look = async () => {
    // whoever removed the folder, at the end of a teardown, has removed the tickets of those who wait, too
    const shared = (await ticketsIn(folder)).find(
      ticket => ticket.number !== undefined && sharing.includes(ticket.owner),
    )
    if (shared === undefined) isOurs = true
    const number =
      shared?.number ??
      (await takeTicket(folder, owner, task).catch(error => {
        refused = error
      }))
    if (number === undefined) return true
    others = await before(number, folder, sharing)
    if (others.length === 0) return true
    if (!isTold) onWait?.(await describe(folder, others[0]))
    isTold = true
    return new NotYet('held')
  }
  try {
    const timeoutMs = waitMs === 0 ? foreverMs : waitMs
    await waitFor(look, { timeoutMs, pauseMs: 50, onTimeout: async () => heldError(await describe(folder, others[0])) })
    if (refused !== undefined) throw refused
  } catch (error) {
    await release()
    throw error
  }
  return release
}

function heldError(holder: string): PlatformError {
  return new PlatformError(`Another task changes this installation: ${holder}`, {
    hint: 'Run this again when it has ended, or with --wait, which waits for that',
  })
}

/** Files that cannot be tickets are left alone. */
async function ticketsIn(folder: string): Promise<Ticket[]> {
  const names = await readdir(folder).catch(() => [])
  return names.flatMap(file => {
    const [, number, owner] = /^(\d+|choosing)-(\d+-[\w-]+)$/.exec(file) ?? []
    return owner === undefined ? [] : [{ file, number: number === 'choosing' ? undefined : Number(number), owner }]
  })
}

async function takeTicket(folder: string, owner: string, task: string): Promise<number> {
  const [self = ''] = await keysOf([process.pid])
  const choosing = join(folder, `choosing-${self}`)
  const text = JSON.stringify({ task, since: new Date().toISOString() })
  await writeInto(folder, choosing, text)
  const number = 1 + Math.max(0, ...(await ticketsIn(folder)).map(ticket => ticket.number ?? 0))
  await writeInto(folder, join(folder, `${number}-${owner}`), text)
  await rm(choosing, { force: true })
  return number
}

/** The last one to leave removes the folder, perhaps just now. */
async function writeInto(folder: string, file: string, text: string): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    await ensureFolder(folder, 0o700)
    try {
      return await writeFile(file, text, { mode: 0o600 })
    } catch (error) {
      if (codeOf(error) === 'ENOENT' && tries < 100) continue
      throw new PlatformError(`${file} cannot be written`, { why: messageOf(error), hint: hintForWrite(error, file) })
    }
  }
}

/** The tickets of living processes whose turn comes before ours, or who may still choose a number that does. */
async function before(number: number, folder: string, sharing: readonly string[]): Promise<Ticket[]> {
  const earlier: Ticket[] = []
  for (const ticket of await ticketsIn(folder)) {
    if (sharing.includes(ticket.owner)) continue
    if (!(await lives(ticket.owner))) await rm(join(folder, ticket.file), { force: true })
    else if (ticket.number === undefined || ticket.number < number) earlier.push(ticket)
    // two who chose at the same time have the same number
    else if (ticket.number === number && ticket.owner < (sharing[0] ?? '')) earlier.push(ticket)
  }
  return earlier.sort((a, b) => (a.number ?? 0) - (b.number ?? 0))
}

/** `task setup (pid 812, since 14:05:12)` */
async function describe(folder: string, ticket: Ticket | undefined): Promise<string> {
  if (ticket === undefined) return 'one that has ended meanwhile'
  const text = await readFile(join(folder, ticket.file), 'utf8').catch(() => '')
  const [, task = 'a task'] = /"task":"([\w-]+)"/.exec(text) ?? []
  const [, since] = /"since":"([^"]+)"/.exec(text) ?? []
  const time = since === undefined ? '' : `, since ${new Date(since).toLocaleTimeString('en-GB')}`
  return `${task} (pid ${Number.parseInt(ticket.owner, 10)}${time})`
}

/** Processes as they are called in names of files; those that have ended are left out. */
async function keysOf(pids: readonly number[]): Promise<string[]> {
  const found = await Promise.all(pids.map(identityOf))
  return found.flatMap(identity =>
    identity === undefined ? [] : [`${identity.pid}-${identity.startTime.replaceAll(/[^\w-]/g, '_')}`],
  )
}

async function lives(owner: string): Promise<boolean> {
  return (await keysOf([Number.parseInt(owner, 10)])).includes(owner)
}
