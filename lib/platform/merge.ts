import type { ComposeService, PublishedPort, ReadCompose } from './compose-file.ts'

/** What one file says of a service, by itself or as the base that another service extends. */
interface Part {
  file: ReadCompose
  name: string
  service: ComposeService
}

/** A service as all files together describe it, merged as Compose merges them, in the fields that the platform reads. */
export interface MergedService {
  image: string | undefined
  containerName: string | undefined
  networkMode: string | undefined
  isBuilt: boolean
  hasLogging: boolean
  /** Number of containers. */
  scale: number
  networks: Record<string, { ipv4_address?: string } | null>
  ports: { port: string | number | PublishedPort; where: string }[]
  volumes: (string | { source?: string })[]
  secrets: string[]
  profiles: string[]
  block: Record<string, unknown>
  /** `file:line` of a key, in the last file that has it. */
  locate(...path: string[]): string
}

/** The services of all files by name, in the order in which the files first say something of them. */
export function mergedServices(files: readonly ReadCompose[]): Map<string, MergedService> {
  const own = files.filter(({ role }) => role === 'own')
  const names = new Set(own.flatMap(({ content }) => Object.keys(content.services ?? {})))
  return new Map(
    [...names].flatMap(name => {
      const parts = allParts(name, files)
      return parts.length === 0 ? [] : [[name, mergedService(name, parts)] as const]
    }),
  )
}

/** What all files say of a service; a later one may start it anew, or remove it. */
function allParts(name: string, files: readonly ReadCompose[]): Part[] {
  let parts: Part[] = []
  for (const file of files.filter(({ role }) => role === 'own')) {
    if (file.mergeOf(['services']) ?? file.mergeOf(['services', name])) parts = []
    parts.push(...partsOf(name, file, files, []))
  }
  return parts
}

function mergedService(name: string, parts: readonly Part[]): MergedService {
  const last = (key: string) => effective(parts, key).at(-1)?.value
  const all = <T>(key: string): T[] => effective(parts, key).flatMap(({ value }) => (value ?? []) as T[])
  const deploy = (last('deploy') ?? {}) as { replicas?: unknown }
  return {
    image: textOf(last('image')),
    containerName: textOf(last('container_name')),
    networkMode: textOf(last('network_mode')),
    isBuilt: (last('build') ?? undefined) !== undefined,
    hasLogging: (last('logging') ?? undefined) !== undefined,
    scale: Number(last('scale') ?? deploy.replicas ?? 1),
    networks: Object.assign({}, ...effective(parts, 'networks').map(({ value }) => networksOf(value))),
    ports: effective(parts, 'ports').flatMap(({ value, part }) =>
      ((value ?? []) as MergedService['ports'][number]['port'][]).map((port, index) => ({
        port,
        where: part.file.locate(['services', part.name, 'ports', index]),
      })),
    ),
    volumes: all('volumes'),
    secrets: all<string | { source: string }>('secrets').map(secret =>
      typeof secret === 'string' ? secret : secret.source,
    ),
    profiles: all('profiles'),
    block: Object.assign({}, ...effective(parts, 'x-macula').map(({ value }) => value)),
    locate(...path) {
      const [key = ''] = path
      const part = parts.findLast(({ service }) => service[key] !== undefined) ?? parts.at(-1)
      return part?.file.locate(['services', part.name, ...path]) ?? name
    },
  }
}

/** The parts of a service in one file, those that it extends first. A service that extends itself ends the search; Compose refuses it. */
function partsOf(name: string, file: ReadCompose, files: readonly ReadCompose[], seen: readonly string[]): Part[] {
  const service = file.content.services?.[name]
  const id = `${file.file}\0${name}`
  if (service === undefined || seen.includes(id)) return []
  const base = typeof service.extends === 'string' ? { service: service.extends, file: undefined } : service.extends
  if (base === undefined) return [{ file, name, service }]
  const sources = base.file === undefined ? [file] : files.filter(({ path }) => path === baseOf(file, base.file))
  return [
    ...sources.flatMap(source => partsOf(String(base.service), source, files, [...seen, id])),
    { file, name, service },
  ]
}

function baseOf({ bases }: ReadCompose, written: string | undefined): string | undefined {
  return written === undefined ? undefined : bases.get(written)
}

/** What the parts say of a key, without what `!override` and `!reset` in later ones put aside. */
function effective(parts: readonly Part[], key: string): { part: Part; value: unknown }[] {
  let found: { part: Part; value: unknown }[] = []
  for (const part of parts) {
    const merge = part.file.mergeOf(['services', part.name, key])
    if (merge !== undefined) found = []
    if (merge !== 'reset' && part.service[key] !== undefined) found.push({ part, value: part.service[key] })
  }
  return found
}

function networksOf(value: unknown): MergedService['networks'] {
  if (Array.isArray(value)) return Object.fromEntries(value.map(name => [String(name), null]))
  return (value ?? {}) as MergedService['networks']
}

function textOf(value: unknown): string | undefined {
  return value === undefined || value === null ? undefined : String(value)
}
