/** Runs each action once per key; who asks again gets the same result. */
export function memory(): <T>(key: string, make: () => Promise<T>) => Promise<T> {
  const made = new Map<string, Promise<unknown>>()
  return <T>(key: string, make: () => Promise<T>) => {
    const promise = made.get(key) ?? make()
    made.set(key, promise)
    return promise as Promise<T>
  }
}

/** Lets `count` actions run at a time and starts the others in the order in which they came. */
export function firstComeFirstServed(count: number): <T>(action: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = []
  let running = 0
  return async action => {
    if (running === count) await new Promise<void>(resume => waiting.push(resume))
    else running += 1
    try {
      return await action()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running -= 1
    }
  }
}
