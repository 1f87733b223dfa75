import 'reflect-metadata'
import { createPrivateKey, X509Certificate as StoredCertificate, webcrypto } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { nameConstraints, nameConstraintsId, permits } from './name-constraints.ts'

// Certificates by @peculiar/x509 (which asks for reflect-metadata to be there first); imported only where one has to be made.

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const dayMs = 24 * 60 * 60 * 1000

interface Pem {
  certificate: string
  key: string
}

/** A leaf certificate for DNS names, from the given CA or, where that is empty, about to end, or of another domain, from a new one. */
export async function issue(
  names: readonly string[],
  domain: string,
  ca: Pem,
  days: { leafDays: number; caDays: number; marginDays: number },
): Promise<Pem & { ca: Pem }> {
  cryptoProvider.set(webcrypto)
  const authority = isUsable(ca, domain, days.marginDays) ? ca : await makeAuthority(domain, days.caDays)
  const issuer = new X509Certificate(authority.certificate)
  const signingKey = await importKey(authority.key)
  const keys = await makeKeys()
  const leaf = await X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: `CN=${names[0]}`,
    issuer: issuer.subject,
    ...validity(days.leafDays, issuer.notAfter),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(names.map(value => ({ type: 'dns', value }))),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  })
  return { certificate: `${leaf.toString('pem')}\n`, key: await exportKey(keys.privateKey), ca: authority }
}

/** A CA that can issue certificates for names of the domain only: somebody who steals its key cannot pretend to be anybody else. */
async function makeAuthority(domain: string, days: number): Promise<Pem> {
  const keys = await makeKeys()
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: `CN=Macula local platform ${domain}, O=Macula local platform`,
    ...validity(days),
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      new Extension(nameConstraintsId, true, new Uint8Array(nameConstraints(domain))),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificate: `${certificate.toString('pem')}\n`, key: await exportKey(keys.privateKey) }
}

function isUsable({ certificate, key }: Pem, domain: string, marginDays: number): boolean {
  try {
    const ca = new StoredCertificate(certificate)
    const endsInMs = Date.parse(ca.validTo) - Date.now()
    return ca.checkPrivateKey(createPrivateKey(key)) && permits(ca.raw, domain) && endsInMs > marginDays * dayMs
  } catch {
    return false // none there yet
  }
}

function validity(days: number, latest?: Date): { notBefore: Date; notAfter: Date } {
  // an hour back: clocks of virtual machines lag
  const notBefore = new Date(Date.now() - 60 * 60 * 1000)
  const end = new Date(notBefore.getTime() + days * dayMs)
  return { notBefore, notAfter: latest && latest < end ? latest : end }
}

function randomSerial(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16))
  // positive, and never shorter than it looks
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return Buffer.from(bytes).toString('hex')
}

async function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', key)
  return `${PemConverter.encode(der, 'PRIVATE KEY')}\n`
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const [der] = PemConverter.decode(pem)
  return webcrypto.subtle.importKey('pkcs8', der as ArrayBuffer, algorithm, true, ['sign'])
}
