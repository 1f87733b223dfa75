const last = new Map<string, Promise<unknown>>()

/** Runs actions of this process that have the same key one after the other, in the order of the calls; a failed one does not stop the next. */
export function inOrder<T>(key: string, action: () => Promise<T>): Promise<T> {
  const result = (last.get(key) ?? Promise.resolve()).then(action, action)
  const settled = result.then(
    () => {},
    () => {},
  )
  last.set(key, settled)
  void settled.then(() => last.get(key) === settled && last.delete(key))
  return result
}
