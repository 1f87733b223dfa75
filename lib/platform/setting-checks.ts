import ipaddr from 'ipaddr.js'

/** Says what is wrong with a value, and what to write instead; undefined for a good one. */
export type Check = (value: string) => string | undefined

export const matches =
  (pattern: RegExp, expected: string): Check =>
  value =>
    pattern.test(value) ? undefined : `${JSON.stringify(value)} should be ${expected}`

export const oneOf = (...values: string[]): Check =>
  matches(new RegExp(`^(${values.join('|')})$`), `one of ${values.join(', ')}`)

export const port: Check = value =>
  isNumberFrom(value, 1, 65535) ? undefined : `${value} should be a port, 1 to 65535`

function isNumberFrom(value: string, minimum: number, maximum: number): boolean {
  return /^[1-9]\d*$/.test(value) && Number(value) >= minimum && Number(value) <= maximum
}

/** A whole number within bounds, both included. */
export const numberFrom =
  (minimum: number, maximum: number): Check =>
  value =>
    isNumberFrom(value, minimum, maximum)
      ? undefined
      : `${JSON.stringify(value)} should be a whole number, ${minimum} to ${maximum}`

export const optional =
  (check: Check): Check =>
  value =>
    value === '' ? undefined : check(value)

// biome-ignore lint/suspicious/noControlCharactersInRegex: it is about them
export const oneLine = matches(/^[^\0-\x1f\x7f]*$/, 'without line ends and control characters')
const domainLabels = matches(
  /^(?=.{1,190}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$/,
  'a domain of two labels or more in lower case, like macula.local',
)

/** Domains that resolvers or clusters answer themselves: queries for our names in them would never reach our DNS server. */
const reservedDomains: Readonly<Record<string, string>> = {
  'cluster.local': 'Kubernetes keeps it for its own services',
  localhost: 'resolvers answer it themselves',
  invalid: 'resolvers answer it themselves',
  onion: 'resolvers answer it themselves',
  arpa: 'DNS keeps it for addresses',
}

export const domainName: Check = value => {
  const wrong = domainLabels(value)
  if (wrong !== undefined) return wrong
  if (/\.\d+$/.test(value)) return `${value} should end in a label that is not a number; it is read as an address`
  const within = (domain: string) => value === domain || value.endsWith(`.${domain}`)
  const reserved = within('home.arpa') ? undefined : Object.keys(reservedDomains).find(within)
  return reserved === undefined ? undefined : `${value} should not be in ${reserved}: ${reservedDomains[reserved]}`
}

export const subnet: Check = value => {
  const [address = '', length] = value.split('/')
  if (!ipaddr.IPv4.isValidFourPartDecimal(address) || length !== '16' || !address.endsWith('.0.0'))
    return `${JSON.stringify(value)} should be a network of the form 172.23.0.0/16`
  const range = ipaddr.IPv4.parse(address).range()
  return range === 'private' || range === 'carrierGradeNat'
    ? undefined
    : `${value} should be a private network, in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10`
}

/** The services use this many addresses from the first one on. */
const loopbackCount = 8
export const firstLoopback: Check = value => {
  const address = ipaddr.IPv4.isValidFourPartDecimal(value) ? ipaddr.IPv4.parse(value) : undefined
  const last = address?.octets[3] ?? 0
  return address?.range() === 'loopback' && last >= 1 && last + loopbackCount - 1 <= 254
    ? undefined
    : `${JSON.stringify(value)} should be an address of 127.0.0.0/8 that ends in 1 to ${255 - loopbackCount}, with room for ${loopbackCount - 1} more`
}
export const plainName = matches(/^[A-Za-z_][A-Za-z0-9_-]{0,62}$/, 'letters, digits, _ and -, starting with a letter')
export const imagePrefix = matches(/^[a-z0-9.-]+(:\d+)?(\/[a-z0-9._-]+)*$/, 'host/prefix, like mirror.example.com/hub')
export const imageName = matches(
  /^[a-z0-9.-]+(:\d+)?(\/[a-z0-9._-]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$/,
  'an image name',
)

/** A secret: never shown; printable ASCII without spaces, so that it survives every config format it is written to. */
export const secretOf =
  (minimum: number): Check =>
  value =>
    value.length < minimum
      ? `should have ${minimum} characters or more`
      : /^[\x21-\x7e]+$/.test(value)
        ? undefined
        : 'should have printable ASCII characters only, and no spaces'

/** A secret written to PowerDNS's configuration, where a trailing backslash continues the line. */
export const pdnsSecret: Check = value =>
  value.endsWith('\\') ? 'should not end with a backslash' : secretOf(8)(value)
