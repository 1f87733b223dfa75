import { readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { parseAllDocuments, stringify } from 'yaml'
import type { Platform } from '../platform/platform.ts'
import { hashOf, writeIfChanged } from '../platform/render.ts'
import { root } from '../system/checkout.ts'
import { run } from '../system/exec.ts'
import { fingerprintOf } from './application-images.ts'
import { clusterFolder } from './cluster.ts'
import type { KubeObject } from './kubectl.ts'

/** An overlay over a folder of `templates/`: what this machine's settings change about it. */
export interface Overlay {
  /** Folder under `templates/`. */
  base: string
  /** Images by the name they have in the base. */
  images?: { name: string; newName?: string; newTag?: string; digest?: string }[]
  /** Literals of the generated ConfigMap `platform`, added to the base's. */
  literals?: Readonly<Record<string, string>>
}

/** The overlay as a kustomization, in a folder from where `base` is reached by a relative path: kustomize takes no other. */
export function overlayText({ base, images = [], literals }: Overlay, folder: string): string {
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: [relative(folder, join(root, 'templates', base))],
    ...(images.length === 0 ? {} : { images }),
    ...(literals === undefined
      ? {}
      : {
          configMapGenerator: [
            {
              name: 'platform',
              namespace: 'macula',
              behavior: 'merge',
              literals: Object.entries(literals).map(([name, value]) => `${name}=${value}`),
            },
          ],
        }),
  }
  return `# Rendered; changes belong into templates/${base}.\n${stringify(kustomization, { lineWidth: 0 })}`
}

/**
 * Writes the overlay and lets kustomize build it; what it made is remembered for as long as overlay and templates stay as they are.
 * Throws with kustomize's words where a manifest is not one.
 */
export async function buildOverlay(platform: Platform, overlay: Overlay): Promise<KubeObject[]> {
  const file = join(clusterFolder(platform), overlay.base, 'kustomization.yaml')
  const text = overlayText(overlay, dirname(file))
  const builtFile = join(dirname(file), 'built.json')
  const fingerprint = hashOf(text, await fingerprintOf(join(root, 'templates')))
  const built = await readFile(builtFile, 'utf8').then(
    (content): { fingerprint: string; objects: KubeObject[] } => JSON.parse(content),
    () => undefined,
  )
  if (built?.fingerprint === fingerprint) return built.objects
  await writeIfChanged(file, text)
  const { stdout } = await run(['kubectl', 'kustomize', dirname(file)])
  const objects = parseAllDocuments(stdout)
    .map(document => document.toJS() as KubeObject)
    .filter(Boolean)
  await writeIfChanged(builtFile, JSON.stringify({ fingerprint, objects }))
  return objects
}

/** Moves Ingresses that are written for the default domain to the settings' domain. */
export function onDomain(objects: readonly KubeObject[], defaultDomain: string, domain: string): KubeObject[] {
  const moved = (host: string) =>
    host.endsWith(`.${defaultDomain}`) ? `${host.slice(0, -defaultDomain.length)}${domain}` : host
  return objects.map(object => {
    if (object.kind !== 'Ingress') return object
    const spec = object.spec as { rules?: { host?: string }[]; tls?: { hosts?: string[] }[] }
    return {
      ...object,
      spec: {
        ...spec,
        ...(spec.rules
          ? { rules: spec.rules.map(rule => (rule.host ? { ...rule, host: moved(rule.host) } : rule)) }
          : {}),
        ...(spec.tls ? { tls: spec.tls.map(tls => (tls.hosts ? { ...tls, hosts: tls.hosts.map(moved) } : tls)) } : {}),
      },
    }
  })
}
