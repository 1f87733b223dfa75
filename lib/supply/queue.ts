/** Runs each action once per key; who asks again gets the same result. */
export function memory(): <T>(key: string, make: () => Promise<T>) => Promise<T> {
  const made = new Map<string, Promise<unknown>>()
  return <T>(key: string, make: () => Promise<T>) => {
    const promise = made.get(key) ?? make()
    made.set(key, promise)
    return promise as Promise<T>
  }
}

/**
 * Lets `count` actions run at a time. Of those that wait, the one with the lowest `place` is next, and of the same place the one that came first; so it
 * is with those that come in the same turn of the event loop.
 */
export function queue(count: number): <T>(action: () => Promise<T>, place?: number) => Promise<T> {
  const waiting: { resume: () => void; place: number }[] = []
  let running = 0
  const resumeNext = () => {
    for (; running < count && waiting.length > 0; running += 1) waiting.shift()?.resume()
  }
  return async (action, place = 0) => {
    await new Promise<void>(resume => {
      const behind = waiting.findIndex(other => other.place > place)
      waiting.splice(behind === -1 ? waiting.length : behind, 0, { resume, place })
      setImmediate(resumeNext)
    })
    try {
      return await action()
    } finally {
      running -= 1
      resumeNext()
    }
  }
}
