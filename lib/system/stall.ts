import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { Options } from 'zx/core'

/** As zx writes it: `60s`, `500ms`, `10m`, or a number of milliseconds. */
export type Duration = NonNullable<Options['timeout']>

/** The limit of a command whose length nobody knows. */
export interface ProgressLimit {
  /**
   * Ends the command when it has made no progress for this long: it printed nothing, took nothing of an `input` stream, and `measure` did not
   * change. For what nobody knows the length of: `stalledAfter`, or `silentWork` with the reason. A function is asked again after each sign of
   * progress. Replaces the deadline unless one is given.
   */
  idle?: Duration | (() => Duration) | undefined
  /** How far a command is that says nothing of it, like the size of the file it writes; looked at twice a second while `idle` counts. */
  measure?: (() => Promise<number>) | undefined
}

/** How long a command that reports how far it is may report nothing: pulls, pushes, copies. */
export const stalledAfter = '60s'
/** The same for work that says nothing while it goes on, and whose end nobody can foretell: a compiler, an engine that unpacks what it was sent. */
export const silentWork = '10m'
const measureEveryMs = 500

/** Calls `stalled` when a command with a limit of that kind makes no progress for so long; the function it returns ends the watch. */
export function watchProgress(
  child: ChildProcess | undefined,
  { idle, measure, input }: ProgressLimit & { input?: unknown },
  stalled: (seconds: number) => void,
): () => void {
  if (idle === undefined) return () => {}
  let silence: NodeJS.Timeout | undefined
  let isOver = false
  const renew = () => {
    clearTimeout(silence)
    // what comes after the end of the command: its last output, a look that was under way
    if (isOver) return
    const ms = millisecondsOf(typeof idle === 'function' ? idle() : idle)
    silence = setTimeout(() => stalled(ms / 1000), ms)
  }
  renew()
  for (const stream of [child?.stdout, child?.stderr]) stream?.on('data', renew)
  if (input instanceof Readable) input.on('end', renew)
  const isMeasured = measure !== undefined || input instanceof Readable
  let before: string | undefined
  const look = async () => {
    // what cannot be measured now has not moved
    const now = `${(child?.stdin as Socket | null)?.bytesWritten} ${await measure?.().catch(() => '')}`
    if (now !== before) renew()
    before = now
  }
  const looks = isMeasured ? setInterval(() => void look(), measureEveryMs) : undefined
  return () => {
    isOver = true
    clearInterval(looks)
    clearTimeout(silence)
  }
}

/** 0 for none. */
export function millisecondsOf(duration: Duration | undefined): number {
  if (duration === undefined) return 0
  const [, count, unit = 'ms'] = /^([\d.]+)(ms|s|m)?$/.exec(String(duration)) ?? []
  return Number(count) * { ms: 1, s: 1000, m: 60_000 }[unit as 'ms' | 's' | 'm']
}
