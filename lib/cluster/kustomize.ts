import { join, relative } from 'node:path'
import { stringify } from 'yaml'
import type { Platform } from '../platform/platform.ts'
import { hashOf, writeIfChanged } from '../platform/render.ts'
import { root } from '../system/checkout.ts'
import { contentsOf } from '../system/files.ts'
import type { Manifests } from './apply.ts'
import { type Certificate, tlsManifest } from './certs.ts'
import { applicationsNamespace, clusterFolder } from './cluster.ts'

/** A kustomization over folders of `templates/`: what this machine's settings and images change about them. */
export interface Overlay {
  /** Folder it is written to, below `cluster` in the state folder. */
  name: string
  /** Folders under `templates/`. */
  resources: readonly string[]
  /** More of them, for what is left alone once it is there. */
  firstResources?: readonly string[]
  components?: readonly string[]
  /** Manifests by the name of the file that is written beside the kustomization. */
  manifests?: Readonly<Record<string, string>>
  /** Images by the name they have in the templates. */
  images?: readonly ImageChange[]
  /** Values of the ConfigMap `platform`. */
  literals?: Readonly<Record<string, string>>
  /** Where it is, if not with the applications. */
  literalsNamespace?: string
  /** Host of each Ingress, by the Ingress' name, where it is not the template's. */
  hosts?: Readonly<Record<string, string>>
  patches?: readonly Patch[]
}

interface ImageChange {
  name: string
  newName?: string
  newTag?: string
  digest?: string
}

interface Patch {
  /** Every object of the kind, where it has no name. */
  target: { kind: string; name?: string }
  /** JSON patch operations. */
  operations: readonly object[]
}

/** What makes `wanted` of the image that the templates name so. A tag of its own replaces the template's tag and digest; a mirror keeps both. */
export function renamedImage(name: string, wanted: string): ImageChange[] {
  const [, newName = wanted, newTag, digest] = /^(.+?)(?::([\w.-]+))?(?:@(sha256:[0-9a-f]{64}))?$/.exec(wanted) ?? []
  return [{ name, newName, ...(newTag ? { newTag } : {}), ...(digest ? { digest } : {}) }]
}

/** The namespace's TLS secret, as one of the manifests of an overlay. */
export function withCertificate(overlay: Overlay, namespace: string, certificate: Certificate): Overlay {
  return { ...overlay, manifests: { ...overlay.manifests, 'tls.yaml': tlsManifest(namespace, certificate) } }
}

/** Writes an overlay for `kubectl apply -k FOLDER`. Its files are readable by their owner only: a key is among them. */
export async function writeOverlay(platform: Platform, overlay: Overlay): Promise<Manifests> {
  const folder = join(clusterFolder(platform), overlay.name)
  for (const [file, text] of Object.entries(overlay.manifests ?? {}))
    await writeIfChanged(join(folder, file), text, 0o600)
  await writeIfChanged(join(folder, 'kustomization.yaml'), overlayText(overlay, folder), 0o600)
  return { name: overlay.name, args: ['-k', folder], source: await sourceOf(overlay, folder) }
}

/** Hash over what decides what the objects of an overlay are. */
async function sourceOf({ firstResources: _first, ...overlay }: Overlay, folder: string): Promise<string> {
  const { resources, components = [], manifests = {} } = overlay
  // folders of templates are made of folders beside them
  const areas = new Set([...resources, ...components].map(path => path.split('/')[0] ?? ''))
  const contents = await Promise.all([...areas].map(area => contentsOf(join(root, 'templates', area))))
  return hashOf(overlayText(overlay, folder), JSON.stringify([manifests, contents]))
}

/** The overlay as a kustomization in a folder; templates are named by relative paths, since kustomize takes no others. */
export function overlayText(overlay: Overlay, folder: string): string {
  const { components = [], manifests = {}, images = [], literals, hosts = {}, patches = [] } = overlay
  const resources = [...(overlay.firstResources ?? []), ...overlay.resources]
  const { literalsNamespace = applicationsNamespace } = overlay
  const template = (path: string) => relative(folder, join(root, 'templates', path))
  const toHosts = Object.entries(hosts).map(([name, host]) => ({
    target: { kind: 'Ingress', name },
    operations: [
      { op: 'replace', path: '/spec/rules/0/host', value: host },
      { op: 'replace', path: '/spec/tls/0/hosts/0', value: host },
    ],
  }))
  const all = [...toHosts, ...patches]
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    resources: [...resources.map(template), ...Object.keys(manifests)],
    ...(components.length === 0 ? {} : { components: components.map(template) }),
    ...(images.length === 0 ? {} : { images }),
    ...(literals === undefined ? {} : { configMapGenerator: [platformConfig(literals, literalsNamespace)] }),
    ...(all.length === 0
      ? {}
      : { patches: all.map(({ target, operations }) => ({ target, patch: JSON.stringify(operations) })) }),
  }
  return `# Rendered; changes belong into templates/${overlay.resources[0]}.\n${stringify(kustomization, { lineWidth: 0 })}`
}

function platformConfig(literals: Readonly<Record<string, string>>, namespace: string) {
  return {
    name: 'platform',
    namespace,
    literals: Object.entries(literals).map(([name, value]) => `${name}=${value}`),
  }
}
