import type { Address } from '../system/address.ts'

/**
 * The name whose TXT record identifies our dnsmasq and the configuration that it has read. The same for every domain, because a running server may
 * have been configured with another one than the settings name now.
 */
export const versionName = '_config.macula.invalid'

const highPorts = [5300, 5301, 5302, 5303]
const onPorts = (ip: string, ports: readonly number[]): Address[] => ports.map(port => ({ ip, port }))

/** Where our dnsmasq may listen, best first; `loopback` is the platform's first address. */
export const dnsListeners = {
  /** For a resolver that asks at port 53 only; the second address is for a machine where the first one's is taken. */
  port53: (loopback: string): Address[] => [...onPorts(loopback, [53]), ...onPorts('127.0.53.1', [53])],
  /** For a resolver that can be told a port. */
  anyPort: (loopback: string): Address[] => onPorts(loopback, [53, ...highPorts]),
  /** For a resolver that can be told a port and needs 53 itself. */
  highPort: (loopback: string): Address[] => onPorts(loopback, highPorts),
}

/** Everywhere that our dnsmasq may listen, for who does not know this machine's resolver. */
export function possibleDnsListeners(loopback: string): Address[] {
  return [...dnsListeners.port53(loopback), ...dnsListeners.highPort(loopback)]
}
