import { readFile } from 'node:fs/promises'
import type { Journal, Outcome } from '../journal/journal.ts'
import { PlatformError } from '../system/errors.ts'
import { type Host, programPath } from '../system/machine.ts'

/** How a system is told to believe in one more CA. */
export interface TrustStore {
  /** Where the CA's certificate is put. */
  file: string
  /** Makes the bundle anew out of all that is put there. */
  command: string
  /** The same where the certificate has gone, if that takes more. */
  forget?: readonly string[]
  /** What programs read: all CAs this system believes in. */
  bundle: string
}

// Debian's program takes a CA that is gone out of the bundle, but leaves links to it, and tells Java nothing, unless a settings file names it as one to
// leave out: it gets one that does, for this once.
const forgetScript = `set -eu
settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
cat /etc/ca-certificates.conf >"$settings"
echo '!macula.crt' >>"$settings"
"$1" --certsconf "$settings"`

const local: TrustStore = {
  file: '/usr/local/share/ca-certificates/macula.crt',
  command: 'update-ca-certificates',
  bundle: '/etc/ssl/certs/ca-certificates.crt',
}

/** By system family. macOS asks for the password of the user at its own window, so there it stays with the printed command. */
const stores: Readonly<Record<string, TrustStore>> = {
  debian: { ...local, forget: ['sh', '-c', forgetScript, 'forget-macula.crt', '/usr/sbin/update-ca-certificates'] },
  alpine: local,
  fedora: {
    file: '/etc/pki/ca-trust/source/anchors/macula.crt',
    command: 'update-ca-trust',
    bundle: '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  },
  arch: {
    file: '/etc/ca-certificates/trust-source/anchors/macula.crt',
    command: 'update-ca-trust',
    bundle: '/etc/ca-certificates/extracted/tls-ca-bundle.pem',
  },
  opensuse: {
    file: '/etc/pki/trust/anchors/macula.crt',
    command: 'update-ca-certificates',
    bundle: '/var/lib/ca-certificates/ca-bundle.pem',
  },
}

/** The store of this machine; undefined where we know of none, or its program is not there. */
export async function trustStoreOf({ os }: Pick<Host, 'os'>): Promise<TrustStore | undefined> {
  const store = stores[os]
  if (store === undefined) return undefined
  const command = await programPath(store.command)
  return command === undefined ? undefined : { ...store, command }
}

/** Whether programs of this machine believe in the CA already, whoever told them to. */
export async function isTrusted({ bundle }: Pick<TrustStore, 'bundle'>, ca: string): Promise<boolean> {
  const text = await readFile(bundle, 'utf8').catch(() => '')
  return withoutSpace(text).includes(withoutSpace(ca))
}

/** Lets this machine believe in the CA; undo takes it out of the store again. Throws where the store does not have it afterwards. */
export async function trustCa(store: TrustStore, ca: string, journal: Journal): Promise<Outcome> {
  await journal.afterUndo(store.forget ?? [store.command])
  const written = await journal.writeFile(store.file, ca)
  if (written === 'unchanged' && (await isTrusted(store, ca))) return 'unchanged'
  await journal.$`${store.command}`
  if (journal.planned.length === 0 && !(await isTrusted(store, ca)))
    throw new PlatformError(`${store.command} did not take the CA into ${store.bundle}`, {
      hint: `${store.command} --verbose   # as root; it reads ${store.file}`,
    })
  return written === 'unchanged' ? 'updated' : written
}

function withoutSpace(text: string): string {
  return text.replaceAll(/\s+/g, '')
}
