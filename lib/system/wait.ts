// not the `sleep` of zx: that takes no signal, and comes with all of zx, which every start would load
import { setTimeout as pause } from 'node:timers/promises'
import { cancelSignal } from './cancel.ts'
import { messageOf, PlatformError } from './errors.ts'

export interface Wait {
  timeoutMs: number
  /** Between two looks, asked anew before each where it is a function; 200 ms unless said otherwise. */
  pauseMs?: number | (() => number)
  /** Ends the wait early, with the signal's reason. */
  signal?: AbortSignal | undefined
  /** The error when time is up; `last` is what the last look said or threw, as text. */
  onTimeout: (last: string) => PlatformError | Promise<PlatformError>
}

/** What a look that is not satisfied says, for the error. */
export class NotYet {
  readonly seen: string
  constructor(seen: string) {
    this.seen = seen
  }
}

/**
 * Looks again and again until the look is satisfied, and returns what it found. A look that throws, or returns a NotYet, is not satisfied;
 * its signal fires when time is up, so a look that hangs cannot outlast the deadline. The first look comes at once.
 * Throws what `onTimeout` makes of the last look.
 */
export async function waitFor<T>(
  look: (signal: AbortSignal) => Promise<T | NotYet> | T | NotYet,
  { timeoutMs, pauseMs = 200, signal: own, onTimeout }: Wait,
): Promise<T> {
  const signal = cancelSignal(own)
  // not AbortSignal.timeout, whose timer would not keep the process alive
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(), timeoutMs)
  const over = signal === undefined ? deadline.signal : AbortSignal.any([deadline.signal, signal])
  try {
    return await lookUntil(look, over, pauseMs, signal, onTimeout)
  } finally {
    clearTimeout(timer)
  }
}

async function lookUntil<T>(
  look: (signal: AbortSignal) => Promise<T | NotYet> | T | NotYet,
  over: AbortSignal,
  pauseMs: number | (() => number),
  signal: AbortSignal | undefined,
  onTimeout: Wait['onTimeout'],
): Promise<T> {
  let last = 'nothing was seen'
  for (;;) {
    try {
      const found = await orAborted(Promise.resolve(look(over)), over)
      if (!(found instanceof NotYet)) return found
      last = found.seen
    } catch (error) {
      if (!over.aborted) last = messageOf(error)
    }
    if (!over.aborted)
      await pause(typeof pauseMs === 'number' ? pauseMs : pauseMs(), undefined, { signal: over }).catch(() => {})
    if (signal?.aborted) throw signal.reason
    if (over.aborted) throw await onTimeout(last)
  }
}

/** Something begun before the step that needs it, which then reports its error. */
export function early<T>(begun: Promise<T>): Promise<T> {
  begun.catch(() => {})
  return begun
}

/**
 * A signal that fires after `timeoutMs`, or with another one. It keeps the process alive until then or until `done`, which AbortSignal.timeout
 * does not.
 */
export function deadline(timeoutMs: number, own?: AbortSignal): { signal: AbortSignal; done: () => void } {
  const signal = cancelSignal(own)
  const controller = new AbortController()
  const timer = setTimeout(
    () => controller.abort(new PlatformError(`no answer within ${timeoutMs / 1000} s`)),
    timeoutMs,
  )
  return {
    signal: signal === undefined ? controller.signal : AbortSignal.any([controller.signal, signal]),
    done: () => clearTimeout(timer),
  }
}

function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    // a rejection that nobody waits for would end the process
    promise.catch(() => {})
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
