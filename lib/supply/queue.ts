/** Runs each action once per key; who asks again gets the same result. */
export function memory(): <T>(key: string, make: () => Promise<T>) => Promise<T> {
  const made = new Map<string, Promise<unknown>>()
  return <T>(key: string, make: () => Promise<T>) => {
    const promise = made.get(key) ?? make()
    made.set(key, promise)
    return promise as Promise<T>
  }
}

/** Lets `count` actions run at a time. Of those that wait, the one with the lowest `place` is next, and of the same place the one that came first. */
export function queue(count: number): <T>(action: () => Promise<T>, place?: number) => Promise<T> {
  const waiting: { resume: () => void; place: number }[] = []
  let running = 0
  return async (action, place = 0) => {
    if (running === count)
      await new Promise<void>(resume => {
        const behind = waiting.findIndex(other => other.place > place)
        waiting.splice(behind === -1 ? waiting.length : behind, 0, { resume, place })
      })
    else running += 1
    try {
      return await action()
    } finally {
      const next = waiting.shift()
      if (next) next.resume()
      else running -= 1
    }
  }
}
