import { type Document, isMap, isScalar, LineCounter, parseDocument, visit } from 'yaml'
import { z } from 'zod'
import type { Problem } from '../system/errors.ts'

/** A compose file as text, with the name it is called by in messages. */
export interface ComposeSource {
  file: string
  text: string
}

/** A service as the compose files describe it, in the few fields that the platform looks at; all else is Compose's own. */
export interface ComposeService {
  image?: string
  container_name?: string
  networks?: Record<string, { ipv4_address?: string } | null> | string[]
  ports?: (string | PublishedPort)[]
  labels?: Record<string, string> | string[]
  volumes?: (string | { source?: string })[]
  depends_on?: string[] | Record<string, unknown>
  secrets?: (string | { source: string })[]
  [key: string]: unknown
}

interface PublishedPort {
  host_ip?: string
  published?: string | number
  target: number
  protocol?: string
}

export interface ComposeFile {
  name?: string
  services?: Record<string, ComposeService>
  secrets?: Record<string, { file?: string }>
  [key: string]: unknown
}

/** One compose file, read: its content with settings filled in, and the line that each of its keys stands on. */
export interface ReadCompose {
  file: string
  content: ComposeFile
  /** `file:line` of the deepest place on this path that exists. */
  locate(path: readonly PropertyKey[]): string
}

const port = z.int().min(1, 'should be a port, 1 to 65535').max(65535, 'should be a port, 1 to 65535')
const label = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'should be one DNS label: lower case letters, digits and -')
const byte = '(25[0-5]|2[0-4]\\d|1?\\d?\\d)'
const loopback = z
  .string()
  .regex(new RegExp(`^127\\.${byte}\\.${byte}\\.${byte}$`), 'should be an address of 127.0.0.0/8')
const portText = '([1-9]\\d{0,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5])'
// these end up in nginx's configuration, where ; { } $ # " ' and \ mean something
const pathText = '/[\\w.~!&()*+,=:@%/-]*'
const queryText = '(\\?[\\w.~!&()*+,=:@%/?-]*)?'
const path = z
  .string()
  .regex(new RegExp(`^${pathText}$`), 'should be a path: / and letters, digits, . _ ~ ! & ( ) * + , = : @ % -')
const portAndPath = z
  .string()
  .regex(new RegExp(`^${portText}${pathText}$`), 'should be port/path, like 9090/metrics; a port is 1 to 65535')
const health = z
  .string()
  .regex(
    new RegExp(`^(tcp|${portText}?${pathText}${queryText})$`),
    'should be a path, port/path, or tcp; a port is 1 to 65535, and a path has no spaces and none of ; { } $ # " \' \\',
  )
const portPair = z
  .string()
  .regex(new RegExp(`^${portText}:${portText}$`), 'should be a port, 1 to 65535, or two of them: "listen:target"')

const serviceBlock = z.strictObject({
  group: z.string().regex(/^[a-z][a-z0-9-]*$/, 'should be a word in lower case'),
  host: z.union([label, z.record(label, port)], 'should be a name, or names with their ports: { s3: 9000 }').optional(),
  path: path.optional(),
  web: z
    .union([port, z.literal(false), z.array(port).min(1)], 'should be a port, a list of ports, or false')
    .optional(),
  loopback: loopback.optional(),
  ports: z.array(z.union([port, portPair], 'should be a port, 1 to 65535, or two of them: "listen:target"')).optional(),
  health: health.optional(),
  metrics: portAndPath.optional(),
  title: z.string().optional(),
  description: z.string().optional(),
})

const applicationsBlock = z.strictObject({
  applications: z.strictObject({ loopback, hosts: z.array(label) }).optional(),
})

/** The `x-macula` block of a service, as written. */
export type ServiceBlock = z.infer<typeof serviceBlock>
/** The top-level `x-macula` block. */
export type ApplicationsBlock = z.infer<typeof applicationsBlock>

/**
 * Reads a compose file: YAML errors and wrong `x-macula` blocks come back as problems, all at once.
 * `${NAME}` is replaced where `variables` knows the name and left to Compose otherwise.
 */
export function readCompose(
  source: ComposeSource,
  variables: Readonly<Record<string, string>>,
): { compose: ReadCompose; problems: Problem[] } {
  const lines = new LineCounter()
  const document = parseDocument(source.text, { lineCounter: lines, merge: true })
  const at = (offset: number) => `${source.file}:${lines.linePos(offset).line}`
  const locate = (path: readonly PropertyKey[]) => at(offsetOf(document, path))
  if (document.errors.length > 0) {
    const problems = document.errors.map(error => ({
      where: at(error.pos[0]),
      what: error.message.split(/ at line|\n/)[0] ?? error.code,
    }))
    return { compose: { file: source.file, content: {}, locate }, problems }
  }
  fillIn(document, variables)
  const content = (document.toJS() ?? {}) as ComposeFile
  const compose = { file: source.file, content, locate }
  if (typeof content !== 'object' || Array.isArray(content)) {
    return {
      compose: { ...compose, content: {} },
      problems: [{ where: at(0), what: 'should be a compose file, with `services:`' }],
    }
  }
  return { compose, problems: blockProblems(compose) }
}

function blockProblems({ content, locate }: ReadCompose): Problem[] {
  const problems = issuesOf(applicationsBlock.safeParse(content['x-macula'] ?? {}), ['x-macula'], locate)
  for (const [name, service] of Object.entries(content.services ?? {})) {
    if (service?.['x-macula'] === undefined) continue
    // a user's file may change single keys of a block, so only all of them together have to be complete
    problems.push(
      ...issuesOf(serviceBlock.partial().safeParse(service['x-macula']), ['services', name, 'x-macula'], locate),
    )
  }
  return problems
}

function issuesOf(
  parsed: z.ZodSafeParseResult<unknown>,
  path: PropertyKey[],
  locate: ReadCompose['locate'],
): Problem[] {
  return (parsed.error?.issues ?? []).flatMap(issue => {
    const full = [...path, ...issue.path]
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map(key => ({
        where: locate([...full, key]),
        what: `${dotted([...full, key])} is not a key of x-macula; known: ${knownKeys(path)}`,
      }))
    }
    return [
      {
        where: locate(full),
        what: `${dotted(full)} ${issue.message.startsWith('should') ? issue.message : `is wrong: ${issue.message}`}`,
      },
    ]
  })
}

function knownKeys(path: readonly PropertyKey[]): string {
  return Object.keys(path[0] === 'services' ? serviceBlock.shape : applicationsBlock.shape).join(', ')
}

function dotted(path: readonly PropertyKey[]): string {
  return path.map(String).join('.')
}

/** Offset of the key on a path, or of the nearest parent that exists. */
function offsetOf(document: Document, path: readonly PropertyKey[]): number {
  for (let depth = path.length; depth > 0; depth -= 1) {
    const key = path[depth - 1]
    const parent = depth === 1 ? document.contents : document.getIn(path.slice(0, depth - 1), true)
    if (isMap(parent)) {
      const pair = parent.items.find(item => isScalar(item.key) && item.key.value === key)
      if (isScalar(pair?.key) && pair.key.range) return pair.key.range[0]
    }
    const node = document.getIn(path.slice(0, depth), true) as { range?: [number, number, number] } | undefined
    if (node?.range) return node.range[0]
  }
  return 0
}

function fillIn(document: Document, variables: Readonly<Record<string, string>>): void {
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value !== 'string') return
      node.value = node.value.replace(/(?<!\$)\$\{([A-Z_]+)\}/g, (text, name) => variables[name] ?? text)
    },
  })
}
