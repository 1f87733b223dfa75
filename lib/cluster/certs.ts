import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Platform } from '../platform/platform.ts'
import { writeIfChanged } from '../platform/render.ts'
import { hasTool, run } from '../system/exec.ts'

/** A certificate for the applications' names, and who vouches for it. */
export interface Certificate {
  /** PEM; the leaf first. */
  certificate: string
  key: string
  /** File with the CA's certificate, whoever made it: what `curl --cacert` takes, and what has to be trusted. */
  caFile: string
  /** Whether mkcert made it, whose CA the user may have trusted already. */
  mkcert: boolean
}

const dayMs = 24 * 60 * 60 * 1000
/** Apple's systems refuse leaves that are valid for longer. */
const leafDays = 825
const caDays = 3650
/** Made anew this long before it ends. */
const marginDays = 30

/** Files of the local CA and the certificate it gave. */
export function certificateFiles({ paths }: Platform) {
  const file = (name: string) => join(paths.stateDir, 'tls', name)
  return { ca: file('ca.crt'), caKey: file('ca.key'), certificate: file('tls.crt'), key: file('tls.key') }
}

/** Names the certificate is for: every application by name, and any other name of the domain. */
export function certificateNames(platform: Platform): string[] {
  return [`*.${platform.domain}`, platform.domain, ...platform.applications.names]
}

/**
 * A certificate that covers the applications' names: the one that is there where it still does, else a new one, from mkcert where that is
 * installed, else from a CA of our own that can vouch for nothing outside the platform's domain. Trusts nothing by itself.
 */
export async function ensureCertificate(
  platform: Platform,
): Promise<{ outcome: 'unchanged' | 'created'; certificate: Certificate }> {
  const files = certificateFiles(platform)
  const mkcert = await hasTool('mkcert')
  const root = mkcert ? join((await run(['mkcert', '-CAROOT'])).stdout.trim(), 'rootCA.pem') : files.ca
  const wanted = { caFile: files.ca, mkcert }
  const existing = await readPair(files)
  if (existing && (await isGood(existing.certificate, await readOrEmpty(root), certificateNames(platform))))
    return { outcome: 'unchanged', certificate: { ...existing, ...wanted } }
  await mkdir(join(platform.paths.stateDir, 'tls'), { recursive: true, mode: 0o700 })
  if (mkcert) {
    await run(['mkcert', '-cert-file', files.certificate, '-key-file', files.key, ...certificateNames(platform)])
    // whoever looks for the CA finds it in one place; without the key of an own one, nobody takes it for that
    await rm(files.caKey, { force: true })
    await writeIfChanged(files.ca, await readFile(root, 'utf8'))
  } else {
    const { issue } = await import('./issue.ts')
    const ca = { certificate: await readOrEmpty(files.ca), key: await readOrEmpty(files.caKey) }
    const issued = await issue(certificateNames(platform), platform.domain, ca, { leafDays, caDays, marginDays })
    await writeIfChanged(files.ca, issued.ca.certificate)
    await writeIfChanged(files.caKey, issued.ca.key, 0o600)
    await writeIfChanged(files.certificate, issued.certificate)
    await writeIfChanged(files.key, issued.key, 0o600)
  }
  const made = await readPair(files)
  if (made === undefined) throw new Error(`${files.certificate} has not been written`)
  return { outcome: 'created', certificate: { ...made, ...wanted } }
}

/** Whether a certificate is of this CA, covers the names, and will do so for a while. */
export async function isGood(
  certificate: string,
  ca: string,
  names: readonly string[],
  now = Date.now(),
): Promise<boolean> {
  const { X509Certificate } = await import('node:crypto')
  try {
    const leaf = new X509Certificate(certificate)
    const issuer = new X509Certificate(ca)
    const known = new Set((leaf.subjectAltName ?? '').split(', ').map(name => name.replace(/^DNS:/, '')))
    const ends = Math.min(Date.parse(leaf.validTo), Date.parse(issuer.validTo))
    return leaf.verify(issuer.publicKey) && names.every(name => known.has(name)) && ends - now > marginDays * dayMs
  } catch {
    // not a certificate, or none there: not good
    return false
  }
}

/** What a person types so that this machine believes in the CA, where the platform does not know how to do it. */
export function trustCommand(
  { mkcert, caFile }: Pick<Certificate, 'mkcert' | 'caFile'>,
  os = process.platform,
): string {
  if (mkcert) return 'mkcert -install'
  return os === 'darwin'
    ? `sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ${caFile}`
    : `sudo trust anchor ${caFile}`
}

async function readPair({ certificate, key }: { certificate: string; key: string }) {
  const pair = { certificate: await readOrEmpty(certificate), key: await readOrEmpty(key) }
  return pair.certificate && pair.key ? pair : undefined
}

async function readOrEmpty(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '')
}
