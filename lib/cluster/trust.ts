import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Journal, Outcome } from '../journal/journal.ts'
import { PlatformError } from '../system/errors.ts'
import { type Host, programPath } from '../system/machine.ts'

/** How a system is told to trust one more CA. */
export interface TrustStore {
  /** Where the CA's certificate is put. */
  file: string
  /** Rebuilds the bundle from all that is put there. */
  command: string
  /** The same after a certificate was removed, if that takes more. */
  forget?: readonly string[]
  /** What programs read: all CAs that this system trusts. */
  bundle: string
}

// Debian's program removes a deleted CA from the bundle, but leaves links to it, and tells Java nothing, unless a settings file names it as one to
// leave out: it is given one that does, for this one run.
const forgetScript = `set -eu
settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
cat /etc/ca-certificates.conf >"$settings"
echo "!$2" >>"$settings"
"$1" --certsconf "$settings"`

/** Where each system family keeps CAs that were added, the program that rebuilds its bundle, and the bundle. */
const stores: Readonly<Record<string, { folder: string; command: string; bundle: string }>> = {
  debian: {
    folder: '/usr/local/share/ca-certificates',
    command: 'update-ca-certificates',
    bundle: '/etc/ssl/certs/ca-certificates.crt',
  },
  alpine: {
    folder: '/usr/local/share/ca-certificates',
    command: 'update-ca-certificates',
    bundle: '/etc/ssl/certs/ca-certificates.crt',
  },
  fedora: {
    folder: '/etc/pki/ca-trust/source/anchors',
    command: 'update-ca-trust',
    bundle: '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  },
  arch: {
    folder: '/etc/ca-certificates/trust-source/anchors',
    command: 'update-ca-trust',
    bundle: '/etc/ca-certificates/extracted/tls-ca-bundle.pem',
  },
  opensuse: {
    folder: '/etc/pki/trust/anchors',
    command: 'update-ca-certificates',
    bundle: '/var/lib/ca-certificates/ca-bundle.pem',
  },
}

/**
 * The store of this machine, with a file of this installation's own in it; undefined where we know of none, or its program is missing. macOS prompts
 * for the user's password in a window of its own, so there the command is only printed.
 */
export async function trustStoreOf({ os }: Pick<Host, 'os'>, installation: string): Promise<TrustStore | undefined> {
  const store = stores[os]
  if (store === undefined) return undefined
  const command = await programPath(store.command)
  if (command === undefined) return undefined
  const name = `macula-${installation}.crt`
  const forget = os === 'debian' ? { forget: ['sh', '-c', forgetScript, 'forget', command, name] } : {}
  return { file: join(store.folder, name), command, bundle: store.bundle, ...forget }
}

/** Whether this machine trusts the CA already, whoever had it do so. */
export async function isTrusted({ bundle }: Pick<TrustStore, 'bundle'>, ca: string): Promise<boolean> {
  const text = await readFile(bundle, 'utf8').catch(() => '')
  return withoutSpace(text).includes(withoutSpace(ca))
}

/** Whether another CA than this one is trusted because of us: one of an earlier domain, or one that was renewed. */
export async function isOutdated({ file }: Pick<TrustStore, 'file'>, ca: string, journal: Journal): Promise<boolean> {
  const records = await journal.undo({ dryRun: true })
  return records.length > 0 && (await readFile(file, 'utf8').catch(() => '')) !== ca
}

/** Has this machine trust the CA; undo removes it from the store again. Throws where the store does not have it afterwards. */
export async function trustCa(store: TrustStore, ca: string, journal: Journal): Promise<Outcome> {
  await journal.afterUndo(store.forget ?? [store.command])
  const written = await journal.writeFile(store.file, ca)
  if (written === 'unchanged' && (await isTrusted(store, ca))) return 'unchanged'
  await journal.$`${store.command}`
  if (journal.planned.length === 0 && !(await isTrusted(store, ca)))
    throw new PlatformError(`${store.command} did not add the CA to ${store.bundle}`, {
      hint: `${store.command} --verbose   # as root; it reads ${store.file}`,
    })
  return written === 'unchanged' ? 'updated' : written
}

function withoutSpace(text: string): string {
  return text.replaceAll(/\s+/g, '')
}
