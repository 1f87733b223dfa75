import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { LineCounter, parse, parseDocument, stringify } from 'yaml'
import type { Platform } from '../platform/platform.ts'
import { readTemplate } from '../platform/render.ts'
import type { Settings } from '../platform/settings.ts'
import { mirrored } from '../stack/image-store.ts'
import { badInput } from '../system/errors.ts'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** A kind config, in the parts we look at. */
export interface KindConfig {
  name: string
  nodes: ({ role: string; image?: string; extraPortMappings?: PortMapping[] } & { [key: string]: Json })[]
  [key: string]: unknown
}

export interface PortMapping {
  containerPort: number
  hostPort: number
  listenAddress: string
  protocol: 'TCP' | 'UDP'
  [key: string]: Json
}

/**
 * The config that the cluster should have been created with: ours, with the user's own file merged in. With `publish`, the node also listens on
 * ports 80 and 443 of the applications' loopback address itself: where nothing on the machine could forward them to it.
 */
export async function desiredConfig(platform: Platform, publish = false): Promise<KindConfig> {
  const { paths } = platform
  const config = withSettings(parse(await readTemplate('kind/cluster.yaml')) as KindConfig, platform, publish)
  const local = await readFile(paths.localKindFile, 'utf8').catch(error => {
    if (error.code === 'ENOENT') return undefined
    throw badInput('The additions to the cluster cannot be read', [{ where: paths.localKindFile, what: error.message }])
  })
  return local === undefined ? config : mergeLocal(config, local, basename(paths.localKindFile))
}

/** The image of the nodes, as kind pulls it. */
export function nodeImage({
  KIND_NODE_IMAGE,
  IMAGE_MIRROR,
}: Pick<Settings, 'KIND_NODE_IMAGE' | 'IMAGE_MIRROR'>): string {
  return mirrored(KIND_NODE_IMAGE, IMAGE_MIRROR)
}

function withSettings(
  template: KindConfig,
  { settings, applications, loopback }: Platform,
  publish: boolean,
): KindConfig {
  const image = nodeImage(settings)
  const hostPorts: Record<number, string> = { 80: settings.INGRESS_HTTP_PORT, 443: settings.INGRESS_HTTPS_PORT }
  const nodes = template.nodes.map(node => {
    const mappings = node.extraPortMappings ?? []
    const ofApplications = { listenAddress: applications.loopback }
    const extraPortMappings = [
      ...mappings.map(mapping => ({
        ...mapping,
        hostPort: Number(hostPorts[mapping.containerPort] ?? mapping.hostPort),
        listenAddress: mapping.protocol === 'UDP' ? applications.loopback : loopback,
      })),
      ...mappings
        .filter(({ protocol }) => publish && protocol === 'TCP')
        .map(mapping => ({ ...mapping, hostPort: mapping.containerPort, ...ofApplications })),
    ]
    return { ...node, image, extraPortMappings }
  })
  const workers = Array.from({ length: Number(settings.CLUSTER_WORKERS) }, () => ({ role: 'worker', image }))
  return { ...template, name: settings.CLUSTER_NAME, nodes: [...nodes, ...workers] }
}

/** Merges a user's file into the config. Throws with the line where it is not YAML, or where it names another cluster. */
export function mergeLocal(config: KindConfig, text: string, file: string): KindConfig {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines })
  const problems = document.errors.map(error => ({
    where: `${file}:${lines.linePos(error.pos[0]).line}`,
    what: error.message.split('\n')[0] ?? error.code,
  }))
  const addition = problems.length > 0 ? {} : ((document.toJS() ?? {}) as Partial<KindConfig>)
  if (typeof addition !== 'object' || Array.isArray(addition))
    problems.push({ where: `${file}:1`, what: 'should be a kind config, like `featureGates: { … }`' })
  else if (addition.name !== undefined && addition.name !== config.name)
    problems.push({ where: file, what: `name: the cluster is named by CLUSTER_NAME in .env (${config.name})` })
  if (problems.length > 0) throw badInput('The additions to the cluster are not usable', problems)
  return merged(config as Json, addition as Json) as KindConfig
}

/** Maps key by key, nodes one by one, other lists one after the other; anything else is replaced. */
function merged(base: Json, addition: Json, key = ''): Json {
  if (isMap(base) && isMap(addition)) {
    const result = { ...base }
    for (const [name, value] of Object.entries(addition))
      result[name] = base[name] === undefined ? value : merged(base[name], value, name)
    return result
  }
  if (Array.isArray(base) && Array.isArray(addition)) {
    if (key !== 'nodes') return [...base, ...addition]
    return Array.from({ length: Math.max(base.length, addition.length) }, (_, index) =>
      base[index] === undefined
        ? (addition[index] as Json)
        : addition[index] === undefined
          ? base[index]
          : merged(base[index], addition[index]),
    )
  }
  return addition
}

function isMap(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The text that is given to kind and recorded in the cluster. */
export function configText(config: KindConfig): string {
  return stringify(config, { lineWidth: 0 })
}

/** What differs between the config a cluster was created with and the one it should have: `nodes.0.image: a → b`. */
export function differences(made: unknown, wanted: unknown, path = ''): string[] {
  if (isDeepStrictEqual(made, wanted)) return []
  const [before, after] = [made as Json, wanted as Json]
  if ((isMap(before) && isMap(after)) || (Array.isArray(before) && Array.isArray(after))) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)])
    return [...keys].flatMap(key =>
      differences(
        (before as Record<string, unknown>)[key],
        (after as Record<string, unknown>)[key],
        path === '' ? key : `${path}.${key}`,
      ),
    )
  }
  return [`${path}: ${shownValue(made)} → ${shownValue(wanted)}`]
}

function shownValue(value: unknown): string {
  if (value === undefined) return 'nothing'
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** One line of kind's own words as progress: its phases, without its pictures; undefined for lines that are not. */
export function phaseOf(line: string): string | undefined {
  const phase = /^\s*[•⠈⠊⠋✓]\s*(.+)$/u.exec(line)?.[1]
  return phase?.replaceAll(/[^\x20-\x7e]/g, '').trim() || undefined
}
