import { readdir, readFile } from 'node:fs/promises'

/** A process that can be told from a later one with the same pid, also after a reboot. */
export interface ProcessIdentity {
  pid: number
  /** Clock ticks since boot, field 22 of /proc/PID/stat. */
  startTime: string
  bootId: string
}

/** Who has this pid now; undefined when nobody has. */
export async function identityOf(pid: number): Promise<ProcessIdentity | undefined> {
  const stat = await statFields(pid)
  // a zombie has ended, whoever has not collected it yet
  if (stat?.startTime === undefined || stat.state === 'Z') return undefined
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  return { pid, startTime: stat.startTime, bootId }
}

export async function isAlive(process: ProcessIdentity): Promise<boolean> {
  const now = await identityOf(process.pid)
  return now !== undefined && now.startTime === process.startTime && now.bootId === process.bootId
}

/** The pids of a process's children. */
export async function childrenOf(pid: number): Promise<number[]> {
  const children: number[] = []
  for (const entry of await readdir('/proc')) {
    if (/^\d+$/.test(entry) && (await statFields(Number(entry)))?.parent === pid) children.push(Number(entry))
  }
  return children
}

async function statFields(pid: number) {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  // the name before the last bracket may hold spaces and brackets itself
  const [state, parent, ...rest] = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return { state, parent: Number(parent), startTime: rest[17] }
}
