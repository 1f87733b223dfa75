import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseAllDocuments,
  visit,
} from 'yaml'
import * as z from 'zod'
import type { Problem } from '../system/errors.ts'
import { interpolate, type Lookup } from './interpolate.ts'

/** A compose file as text, with the name it has in messages. */
export interface ComposeSource {
  file: string
  text: string
  /** Absolute path, which `extends` of other files refers to. */
  path?: string
  /** `base` is only there for services of other files to extend. */
  role?: 'own' | 'base'
  bases?: ReadonlyMap<string, string>
}

/** A service as one file describes it, in the few fields that the platform reads; all else is Compose's own. */
export interface ComposeService {
  image?: string
  container_name?: string
  network_mode?: string
  networks?: Record<string, { ipv4_address?: string } | null> | string[]
  ports?: (string | number | PublishedPort)[]
  volumes?: (string | { source?: string })[]
  depends_on?: string[] | Record<string, unknown>
  secrets?: (string | { source: string })[]
  profiles?: string[]
  extends?: string | { service: string; file?: string }
  [key: string]: unknown
}

export interface PublishedPort {
  host_ip?: string
  published?: string | number
  target: number | string
  protocol?: string
}

export interface ComposeFile {
  name?: string
  services?: Record<string, ComposeService>
  secrets?: Record<string, { file?: string }>
  [key: string]: unknown
}

/** One document of a compose file, parsed: its content with variables filled in, and the line of each key. */
export interface ReadCompose {
  file: string
  path: string | undefined
  role: 'own' | 'base'
  /** Absolute paths of the files that its services extend, as they are written. */
  bases: ReadonlyMap<string, string>
  content: ComposeFile
  /** `file:line` of the deepest key on this path that exists. */
  locate(path: readonly PropertyKey[]): string
  /** Whether a tag makes this value replace that of earlier files (`!override`), or remove it (`!reset`). */
  mergeOf(path: readonly PropertyKey[]): 'override' | 'reset' | undefined
  /** Every variable that a value uses. */
  variables: { name: string; where: string }[]
}

const anything = z.unknown()
const mapping = z.record(z.string(), anything, 'should be a mapping of keys to values')
const text = z.string('should be a string')
const namesOrMapping = z.union([z.array(text), mapping], 'should be a list of names, or a mapping')
const listOf = (item: z.ZodType, what: string) => z.array(item, `should be a list of ${what}`)

// Only the fields that the platform reads, in every form that Compose accepts. Compose itself validates the rest.
const serviceShape = z.looseObject(
  {
    image: text.optional(),
    container_name: text.optional(),
    network_mode: text.optional(),
    networks: z
      .union([z.array(text), z.record(z.string(), mapping.nullable())], 'should be a list of networks, or a mapping')
      .nullish(),
    ports: listOf(z.union([text, z.number(), mapping], 'should be a port: "127.0.0.9:8080:80"'), 'ports').nullish(),
    volumes: listOf(z.union([text, mapping], 'should be a volume: "name:/path"'), 'volumes').nullish(),
    depends_on: namesOrMapping.nullish(),
    secrets: listOf(z.union([text, mapping], 'should be the name of a secret, or a mapping'), 'secrets').nullish(),
    profiles: listOf(text, 'profiles').nullish(),
    extends: z.union([text, mapping], 'should be the name of a service, or a mapping').optional(),
    'x-macula': mapping.nullish(),
  },
  'should be a mapping, with `image:`',
)
const fileShape = z.looseObject({
  services: z.record(z.string(), serviceShape, 'should be a mapping of services').nullish(),
  secrets: z.record(z.string(), mapping.nullable(), 'should be a mapping of secrets').nullish(),
  networks: mapping.nullish(),
  volumes: mapping.nullish(),
  include: z.array(z.union([text, mapping]), 'should be a list of files').nullish(),
  'x-macula': mapping.nullish(),
})

/**
 * Parses a compose file. Each of its YAML documents is returned separately: later ones override earlier ones, as files do. Invalid YAML and
 * wrong shapes are returned as problems, all at once; `content` is then empty.
 */
export function readComposeFile(source: ComposeSource, lookup: Lookup): { files: ReadCompose[]; problems: Problem[] } {
  const lines = new LineCounter()
  const documents = parseAllDocuments(source.text, { lineCounter: lines, merge: true, logLevel: 'silent' })
  const at = (offset: number) => `${source.file}:${lines.linePos(offset).line}`
  const read = [...documents].map(document => readDocument(document, source, at, lookup))
  return { files: read.map(({ file }) => file), problems: read.flatMap(({ problems }) => problems) }
}

function readDocument(
  document: Document.Parsed,
  { file, path, role = 'own', bases = new Map() }: ComposeSource,
  at: (offset: number) => string,
  lookup: Lookup,
): { file: ReadCompose; problems: Problem[] } {
  const notes = document.errors.length === 0 ? walk(document, lookup) : emptyNotes()
  const problems: Problem[] = [
    ...document.errors.map(error => ({
      where: at(error.pos[0]),
      what: error.message.split(/ at line|\n/)[0] ?? error.code,
    })),
    ...notes.problems.map(({ offset, what }) => ({ where: at(offset), what })),
  ]
  let offsets: ReadonlyMap<string, number> | undefined
  const locate = (path: readonly PropertyKey[]) => {
    offsets ??= offsetsIn(document)
    for (let depth = path.length; depth > 0; depth -= 1) {
      const offset = offsets.get(keyOf(path.slice(0, depth)))
      if (offset !== undefined) return at(offset)
    }
    return at(0)
  }
  const content = problems.length === 0 ? contentOf(document, notes.merges, locate, problems) : {}
  const variables = notes.variables.map(({ name, offset }) => ({ name, where: at(offset) }))
  const mergeOf = (path: readonly PropertyKey[]) => notes.merges.get(keyOf(path))
  return { file: { file, path, role, bases, content, locate, mergeOf, variables }, problems }
}

/** The content as plain objects, with its shape checked. */
function contentOf(
  document: Document.Parsed,
  merges: Notes['merges'],
  locate: ReadCompose['locate'],
  problems: Problem[],
): ComposeFile {
  let content: unknown
  try {
    // aliases become references, not copies, so any number of them is safe
    content = document.toJS({ maxAliasCount: -1 }) ?? {}
  } catch (error) {
    problems.push({ where: locate([]), what: error instanceof Error ? error.message : String(error) })
    return {}
  }
  for (const [key, merge] of merges) if (merge === 'reset') remove(content, key.split('\0'))
  const { error } = fileShape.safeParse(content)
  for (const issue of error?.issues ?? []) {
    const expected = issue.path.length === 0 ? 'should be a compose file, with `services:`' : issue.message
    problems.push({
      where: locate(issue.path),
      what: [issue.path.map(String).join('.'), expected].filter(Boolean).join(' '),
    })
  }
  if (error) return {}
  const { services, ...file } = content as ComposeFile
  // a service may be called `constructor`
  return services ? { ...file, services: Object.assign(Object.create(null), services) } : file
}

/** Removes a value tagged `!reset`; whatever it is, Compose ignores it. */
function remove(content: unknown, path: readonly string[]): void {
  const parent = path
    .slice(0, -1)
    .reduce((value, key) => (value as Record<string, unknown> | undefined)?.[key], content)
  if (typeof parent === 'object' && parent !== null) delete (parent as Record<string, unknown>)[path.at(-1) ?? '']
}

interface Notes {
  problems: { offset: number; what: string }[]
  variables: { name: string; offset: number }[]
  merges: Map<string, 'override' | 'reset'>
}

function emptyNotes(): Notes {
  return { problems: [], variables: [], merges: new Map() }
}

/** Fills in the variables, and collects what plain objects cannot hold: tags, and where variables are used. */
function walk(document: Document.Parsed, lookup: Lookup): Notes {
  const { problems, variables, merges } = emptyNotes()
  const anchors = new Set<string>()
  visit(document, {
    Node(key, node, ancestors) {
      const offset = node.range?.[0] ?? 0
      if (isAlias(node)) {
        if (!anchors.has(node.source)) problems.push({ offset, what: `*${node.source} is not an anchor of this file` })
        return
      }
      if (node.anchor !== undefined) anchors.add(node.anchor)
      if (node.tag === '!reset' || node.tag === '!override')
        merges.set(keyOf(keysOf(ancestors)), node.tag === '!reset' ? 'reset' : 'override')
      if (!isScalar(node) || key === 'key' || typeof node.value !== 'string' || !node.value.includes('$')) return
      const noted = (name: string) => {
        variables.push({ name, offset })
        return lookup(name)
      }
      node.value = interpolate(node.value, noted, keysOf(ancestors).includes('x-macula'))
    },
  })
  return { problems, variables, merges }
}

/** The mapping keys above a node. The tags that matter are on mapping values, never on list items. */
function keysOf(ancestors: readonly unknown[]): string[] {
  return ancestors.flatMap(node => (isPair(node) && isScalar(node.key) ? [String(node.key.value)] : []))
}

function keyOf(path: readonly PropertyKey[]): string {
  return path.map(String).join('\0')
}

/** The offset of each key and list item of a document. */
function offsetsIn(document: Document.Parsed): Map<string, number> {
  const offsets = new Map<string, number>()
  const note = (node: unknown, path: string) => {
    if (isMap(node))
      for (const { key, value } of node.items) {
        if (!isScalar(key)) continue
        const below = path === '' ? String(key.value) : `${path}\0${String(key.value)}`
        if (key.range) offsets.set(below, key.range[0])
        note(value, below)
      }
    else if (isSeq(node))
      for (const [index, item] of node.items.entries()) {
        const below = `${path}\0${index}`
        if (isNode(item) && item.range) offsets.set(below, item.range[0])
        note(item, below)
      }
  }
  note(document.contents, '')
  return offsets
}
