import { type Document, isMap, isSeq, parseDocument, type YAMLSeq } from 'yaml'

/** The lists of a kubeconfig; in those that kind writes, a cluster, its context and its user have one name. */
const lists = ['clusters', 'contexts', 'users'] as const

/**
 * A kubeconfig with what another one has for a context added, or brought to what it is there. Everything else, the current context and comments
 * included, stays; a file without a current context gets this one. Throws an Error for a text that is not a kubeconfig.
 */
export function withContext(text: string, context: string, other: string): string {
  const [target, source] = [read(text), read(other)]
  for (const list of lists) {
    const entry = entriesOf(source, list).find(each => each.name === context)?.value
    if (entry === undefined) throw new Error(`it has no ${list} entry called ${context}`)
    const seq = target.get(list)
    const found = entriesOf(target, list).find(each => each.name === context)
    if (found !== undefined && isSeq(seq)) seq.items[found.index] = target.createNode(entry)
    else if (isSeq(seq)) seq.add(target.createNode(entry))
    else target.set(list, target.createNode([entry]))
  }
  if (!target.get('current-context')) target.set('current-context', context)
  for (const key of ['apiVersion', 'kind']) if (!target.has(key)) target.set(key, source.get(key))
  return written(target, text)
}

/** A kubeconfig without what it has for a context; the same text where it has nothing, undefined where it cannot be read. */
export function withoutContext(text: string, context: string): string | undefined {
  let document: Document
  try {
    document = read(text)
  } catch {
    return undefined
  }
  let isChanged = false
  for (const list of lists) {
    const ours = entriesOf(document, list).filter(({ name }) => name === context)
    for (const { index } of ours.reverse()) (document.get(list) as YAMLSeq).delete(index)
    isChanged ||= ours.length > 0
  }
  if (document.get('current-context') === context) {
    document.set('current-context', '')
    isChanged = true
  }
  return isChanged ? written(document, text) : text
}

function read(text: string): Document {
  const document: Document = parseDocument(text)
  if (document.errors.length > 0) throw new Error(document.errors[0]!.message)
  if (document.contents === null) document.contents = document.createNode({})
  if (!isMap(document.contents)) throw new Error('it is not a kubeconfig')
  return document
}

function entriesOf(document: Document, list: string): { name: unknown; index: number; value: unknown }[] {
  const seq = document.get(list)
  if (!isSeq(seq)) return []
  return seq.items.map((item, index) => ({
    name: isMap(item) ? item.get('name') : undefined,
    index,
    value: isMap(item) ? item.toJSON() : item,
  }))
}

// kubectl does not indent lists below their key, and it does not fold long lines, as certificates are
function written(document: Document, before: string): string {
  return document.toString({ lineWidth: 0, indentSeq: /^ +- /m.test(before) && !/^- /m.test(before) })
}
