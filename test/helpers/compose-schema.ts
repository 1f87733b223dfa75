import { readFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { firstThatExists } from '../../lib/system/files.ts'

interface Schema {
  $ref?: string
  properties?: Record<string, Schema>
  patternProperties?: Record<string, Schema>
  items?: Schema
  oneOf?: Schema[]
  anyOf?: Schema[]
  allOf?: Schema[]
  definitions?: Record<string, Schema>
}

/** Keys of the Compose specification, as `service.build.args`, that none of the documents has. The schema is the one in Compose itself. */
export async function unvisitedKeys(command: readonly string[], documents: readonly unknown[]): Promise<string[]> {
  const schema = await schemaOf(command)
  const visited = new Set<string>()
  for (const document of documents) visit(schema, document, 'file', schema, visited)
  const all = new Set<string>()
  collect(schema, 'file', schema, all, [])
  return [...all].filter(key => !visited.has(key)).sort()
}

async function schemaOf([program = '', plugin]: readonly string[]): Promise<Schema> {
  const plugins = [
    '/usr/libexec/docker/cli-plugins',
    '/usr/lib/docker/cli-plugins',
    '/usr/local/lib/docker/cli-plugins',
  ]
  const file =
    plugin === undefined
      ? program
      : await firstThatExists(
          [...plugins, ...(process.env.DOCKER_CLI_PLUGINS ?? '').split(delimiter)].map(folder =>
            join(folder, 'docker-compose'),
          ),
        )
  const bytes = await readFile(file ?? program)
  const start = bytes.lastIndexOf('{', bytes.indexOf('compose_spec.json'))
  const text = bytes.subarray(start, start + 300_000).toString('latin1')
  // the schema ends where its outermost brace does
  let depth = 0
  let inText = false
  for (let at = 0; at < text.length; at += 1) {
    const mark = text[at]
    if (inText && mark === '\\') at += 1
    else if (mark === '"') inText = !inText
    else if (!inText && mark === '{') depth += 1
    else if (!inText && mark === '}' && --depth === 0) return JSON.parse(text.slice(0, at + 1))
  }
  throw new Error(`${file} holds no schema`)
}

function branches(schema: Schema, root: Schema): { node: Schema; name: string | undefined }[] {
  const name = schema.$ref?.split('/').at(-1)
  const node = name === undefined ? schema : (root.definitions?.[name] ?? {})
  const below = [...(node.oneOf ?? []), ...(node.anyOf ?? []), ...(node.allOf ?? [])].flatMap(each =>
    branches(each, root),
  )
  return [{ node, name }, ...below.map(branch => ({ ...branch, name: branch.name ?? name }))]
}

function visit(schema: Schema, value: unknown, path: string, root: Schema, visited: Set<string>): void {
  for (const { node, name } of branches(schema, root)) {
    const here = name ?? path
    if (Array.isArray(value)) for (const item of value) visit(node.items ?? {}, item, here, root, visited)
    else if (typeof value === 'object' && value !== null)
      for (const [key, below] of Object.entries(value)) {
        const known = node.properties?.[key]
        if (known) {
          visited.add(`${here}.${key}`)
          visit(known, below, `${here}.${key}`, root, visited)
        } else
          for (const pattern of Object.values(node.patternProperties ?? {})) visit(pattern, below, here, root, visited)
      }
  }
}

function collect(schema: Schema, path: string, root: Schema, all: Set<string>, seen: readonly Schema[]): void {
  for (const { node, name } of branches(schema, root)) {
    if (seen.includes(node)) continue
    const here = name ?? path
    const below = [...seen, node]
    for (const [key, each] of Object.entries(node.properties ?? {})) {
      all.add(`${here}.${key}`)
      collect(each, `${here}.${key}`, root, all, below)
    }
    for (const each of [...Object.values(node.patternProperties ?? {}), ...(node.items ? [node.items] : [])])
      collect(each, here, root, all, below)
  }
}
