import { AsyncLocalStorage } from 'node:async_hooks'
import { setMaxListeners } from 'node:events'

const scope = new AsyncLocalStorage<AbortSignal>()

/**
 * Runs an action whose commands and waits end when the signal fires, and which starts no more of them then. How a task that failed ends what
 * its other branches are still doing.
 */
export function cancelledBy<T>(signal: AbortSignal, action: () => T): T {
  // each command that runs listens to it, and many run at once
  setMaxListeners(0, signal)
  return scope.run(signal, action)
}

/** Whose the caller's commands are: the signal of the innermost `cancelledBy` around it. */
export function cancelScope(): AbortSignal | undefined {
  return scope.getStore()
}

/** The signal that ends what the caller does: that of its task, and its own; undefined where nothing does. */
export function cancelSignal(own?: AbortSignal): AbortSignal | undefined {
  const task = scope.getStore()
  return task && own ? AbortSignal.any([task, own]) : (task ?? own)
}
