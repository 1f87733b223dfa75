// The extension by which a CA can issue certificates for names of one domain only. Neither node:crypto nor the x509 library has a class for it.

/** OBJECT IDENTIFIER 2.5.29.30 */
export const nameConstraintsId = '2.5.29.30'
const encodedId = Buffer.from([0x06, 0x03, 0x55, 0x1d, 0x1e])

/** NameConstraints ::= SEQUENCE { permittedSubtrees [0] { GeneralSubtree { dNSName [2] domain } } } */
export function nameConstraints(domain: string): Buffer {
  const subtree = wrap(0x30, wrap(0x82, Buffer.from(domain, 'ascii')))
  return wrap(0x30, wrap(0xa0, subtree))
}

/** Whether a CA, given as DER, can issue certificates for names of the domain: it has no such extension, or one for just this domain. */
export function permits(ca: Buffer, domain: string): boolean {
  return !ca.includes(encodedId) || ca.includes(nameConstraints(domain))
}

function wrap(tag: number, content: Buffer): Buffer {
  const { length } = content
  return Buffer.concat([Buffer.from([tag, ...(length < 128 ? [length] : [0x81, length])]), content])
}
