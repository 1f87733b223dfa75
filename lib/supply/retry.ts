import { setTimeout as pause } from 'node:timers/promises'
import { PlatformError } from '../system/errors.ts'

/** Between attempts: for a router that restarts, or a train that leaves its tunnel. */
const usualPausesMs: readonly number[] = [2000, 10_000, 30_000]

/** What programs say of a connection that ended, or could not be had; all else is no better a moment later. */
const isLost =
  /dial tcp|no such host|connection (?:reset|refused)|\bEOF\b|i\/o timeout|TLS handshake|network is unreachable|50[234] /

export interface RetryOptions {
  note: (detail: string) => void
  signal?: AbortSignal | undefined
  /** Milliseconds between attempts; one attempt more than there are pauses. */
  pausesMs?: readonly number[] | undefined
}

/** Does `action` again where it failed because the network was lost half way: what it has fetched by then, it has to keep itself. Throws the last error. */
export async function overLostNetwork<T>(
  action: () => Promise<T>,
  { note, signal, pausesMs = usualPausesMs }: RetryOptions,
): Promise<T> {
  for (const pauseMs of pausesMs) {
    try {
      return await action()
    } catch (error) {
      if (!(error instanceof PlatformError) || !isLost.test(`${error.message} ${error.why ?? ''}`)) throw error
      note(`the network is lost; once more in ${Math.ceil(pauseMs / 1000)} s`)
      await pause(pauseMs, undefined, signal && { signal })
    }
  }
  return action()
}
