/** One line of /proc/PID/stat. */
export interface ProcessStat {
  pid: number
  name: string
  /** Z is a zombie: it has ended, whoever has not collected it yet. */
  state: string
  parent: number
  /** Clock ticks since boot. */
  startTicks: string
}

/** Empty where there is no /proc. */
export function allPids(): number[]

/** undefined for a process that is gone. */
export function statOf(pid: number | string): ProcessStat | undefined

/** Program and arguments; empty for threads of the kernel and for zombies, undefined for a process that is gone. */
export function commandOf(pid: number | string): string[] | undefined

/** Target of a link like `cwd` or `ns/net`; undefined for another user's process. */
export function linkOf(pid: number | string, name: string): string | undefined

/** What a process has open, as `socket:[1234]` or a path; empty for another user's process. */
export function openFilesOf(pid: number | string): string[]

/** Text of a file below /proc; undefined where it cannot be read. */
export function procText(path: string): string | undefined

/** Children of a process, their children and so on, without those that have ended. */
export function processesBelow(pid: number): ProcessStat[]
