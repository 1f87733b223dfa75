import { readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Platform } from '../platform/platform.ts'
import { writeIfChanged } from '../platform/render.ts'
import { $, hasTool } from '../system/exec.ts'
import { ensureFolder } from '../system/files.ts'
import { inOrder } from '../system/in-order.ts'
import { ownLabels, tlsSecret } from './cluster.ts'
import { permits } from './name-constraints.ts'

/** A certificate for the applications' names, and the CA that issued it. */
export interface Certificate {
  /** PEM; the leaf first. */
  certificate: string
  key: string
  /** File with the CA's certificate, whoever created it: what `curl --cacert` takes, and what has to be trusted. */
  caFile: string
  /** Whether mkcert issued it, whose CA the user may have trusted already. */
  mkcert: boolean
}

const dayMs = 24 * 60 * 60 * 1000
/** Apple's systems refuse leaves that are valid for longer. */
const leafDays = 825
const caDays = 3650
/** Renewed this long before it ends. */
const marginDays = 30

/** Files of the local CA and the certificate it issued. */
export function certificateFiles({ paths }: Pick<Platform, 'paths'>) {
  const file = (name: string) => join(paths.stateDir, 'tls', name)
  return { ca: file('ca.crt'), caKey: file('ca.key'), certificate: file('tls.crt'), key: file('tls.key') }
}

/** Names the certificate is for: every application by name, and any other name of the domain. */
export function certificateNames(platform: Platform): string[] {
  return [`*.${platform.domain}`, platform.domain, ...platform.applications.names]
}

/**
 * A certificate that covers the applications' names: the one that is there where it still does, else a new one, from mkcert where that is
 * installed, else from a CA of our own that can issue certificates for nothing outside the platform's domain. A CA of another domain, or whose key
 * is another's, is replaced. Trusts nothing by itself.
 */
export function ensureCertificate(platform: Platform): Promise<Ensured> {
  // the ingress and the applications need it at the same time
  return inOrder(certificateFiles(platform).ca, () => ensure(platform))
}

interface Ensured {
  outcome: 'unchanged' | 'created'
  certificate: Certificate
}

async function ensure(platform: Platform): Promise<Ensured> {
  const files = certificateFiles(platform)
  const names = certificateNames(platform)
  const mkcert = await hasTool('mkcert')
  const caFile = mkcert ? join((await $`mkcert -CAROOT`.text()).trim(), 'rootCA.pem') : files.ca
  const wanted = { caFile: files.ca, mkcert }
  const existing = await readPair(files)
  if (existing && (await isGood(existing, await readOrEmpty(caFile), names, platform.domain)))
    return { outcome: 'unchanged', certificate: { ...existing, ...wanted } }
  await ensureFolder(dirname(files.ca), 0o700)
  if (mkcert) {
    await $`mkcert -cert-file ${files.certificate} -key-file ${files.key} ${names}`
    // whoever looks for the CA finds it in one place; without the key of an own one, nobody takes it for that
    await rm(files.caKey, { force: true })
    await writeIfChanged(files.ca, await readFile(caFile, 'utf8'))
  } else {
    const { issue } = await import('./issue.ts')
    const ca = { certificate: await readOrEmpty(files.ca), key: await readOrEmpty(files.caKey) }
    const issued = await issue(names, platform.domain, ca, { leafDays, caDays, marginDays })
    await writeIfChanged(files.ca, issued.ca.certificate)
    await writeIfChanged(files.caKey, issued.ca.key, 0o600)
    await writeIfChanged(files.certificate, issued.certificate)
    await writeIfChanged(files.key, issued.key, 0o600)
  }
  const issued = await readPair(files)
  if (issued === undefined) throw new Error(`${files.certificate} has not been written`)
  return { outcome: 'created', certificate: { ...issued, ...wanted } }
}

/** Whether a certificate and its key belong together, are of this CA, are for these names of the domain, and will be for a while. */
export async function isGood(
  { certificate, key }: Pair,
  ca: string,
  names: readonly string[],
  domain: string,
  now = Date.now(),
): Promise<boolean> {
  const { createPrivateKey, X509Certificate } = await import('node:crypto')
  try {
    const leaf = new X509Certificate(certificate)
    const issuer = new X509Certificate(ca)
    const known = new Set((leaf.subjectAltName ?? '').split(', ').map(name => name.replace(/^DNS:/, '')))
    const ends = Math.min(Date.parse(leaf.validTo), Date.parse(issuer.validTo))
    return (
      leaf.verify(issuer.publicKey) &&
      leaf.checkPrivateKey(createPrivateKey(key)) &&
      names.every(name => known.has(name)) &&
      permits(issuer.raw, domain) &&
      ends - now > marginDays * dayMs
    )
  } catch {
    // not a certificate or a key, or none there: not good
    return false
  }
}

/** The CA of the applications' certificate as PEM, wherever it was issued; undefined where there is none yet. Makes nothing. */
export async function localCa(platform: Pick<Platform, 'paths'>): Promise<string | undefined> {
  return readFile(certificateFiles(platform).ca, 'utf8').catch(() => undefined)
}

/** The secret of a namespace that Ingresses name, as a manifest. */
export function tlsManifest(namespace: string, { certificate, key }: Pair): string {
  const encoded = (text: string) => Buffer.from(text).toString('base64')
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Secret',
    // deploy-ingress and deploy-apps both apply this secret: where one left the labels out, each would undo what the other did
    metadata: { name: tlsSecret, namespace, labels: ownLabels },
    type: 'kubernetes.io/tls',
    data: { 'tls.crt': encoded(certificate), 'tls.key': encoded(key) },
  })
}

/** A certificate and its key, as PEM. */
export interface Pair {
  certificate: string
  key: string
}

/** The command that has this machine trust the CA, where the platform cannot do it itself. */
export function trustCommand(
  { mkcert, caFile }: Pick<Certificate, 'mkcert' | 'caFile'>,
  os = process.platform,
): string {
  if (mkcert) return 'mkcert -install'
  return os === 'darwin'
    ? `sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ${caFile}`
    : `sudo trust anchor ${caFile}`
}

async function readPair({ certificate, key }: Pair): Promise<Pair | undefined> {
  const pair = { certificate: await readOrEmpty(certificate), key: await readOrEmpty(key) }
  return pair.certificate && pair.key ? pair : undefined
}

async function readOrEmpty(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '')
}
