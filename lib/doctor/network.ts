import { readFile } from 'node:fs/promises'
import { networkName } from '../platform/addresses.ts'
import type { Platform } from '../platform/platform.ts'
import { engineTimeout } from '../stack/engine.ts'
import { $, type Shell } from '../system/exec.ts'
import type { Check, Finding } from './finding.ts'

/** A network that is in use on this machine already. */
export interface UsedNetwork {
  /** `172.23.0.0/16` */
  subnet: string
  /** Who uses it: `Docker network "lab"`, `route on eth0`. */
  by: string
}

/** The containers' subnet: not in use by another Docker network or a route of this machine. */
export function subnetCheck(
  { settings }: Pick<Platform, 'settings'>,
  shell: Shell = $,
  routeTable = '/proc/net/route',
): Check {
  const check = 'Subnet'
  return {
    name: check,
    async look(): Promise<Finding[]> {
      const wanted = settings.MACULA_SUBNET
      const { networks, ownBridge } = await dockerNetworks(networkName(settings), wanted, shell)
      const used = [...networks, ...parseRoutes(await readFile(routeTable, 'utf8').catch(() => ''), ownBridge)]
      const clash = used.find(({ subnet }) => overlap(subnet, wanted))
      if (clash === undefined) return [{ check, state: 'ok', detail: wanted }]
      const free = freeSubnet(used)
      return [
        {
          check,
          state: 'fail',
          detail: `${wanted} overlaps with ${clash.subnet} (${clash.by})`,
          hint:
            free === undefined ? 'Set MACULA_SUBNET in .env to a free network' : `Set MACULA_SUBNET=${free} in .env`,
        },
      ]
    },
  }
}

interface Networks {
  networks: UsedNetwork[]
  ownSubnet?: string | undefined
  ownBridge: string | undefined
}

// Bridges of Docker appear as routes, too. Ours is known by its name once it exists.
async function dockerNetworks(ownName: string, wanted: string, shell: Shell): Promise<Networks> {
  const reading = shell({ timeout: engineTimeout, nothrow: true })
  const inspect = (names: readonly string[]) => reading`docker network inspect ${names}`
  const own = await inspect([ownName]).then(
    ({ stdout }) => parseNetworks(stdout, ownName),
    () => undefined,
  )
  // no two networks of Docker overlap: where ours has the subnet, no other has
  if (own?.ownSubnet === wanted) return own
  const listed = await reading`docker network ls --quiet --filter driver=bridge`.then(
    output => output,
    () => undefined,
  )
  const ids = listed?.exitCode === 0 ? listed.stdout.split('\n').filter(Boolean) : []
  // The engine itself is another check's business. Its bridges outlive it, and then nothing shows which of them is ours.
  if (ids.length === 0) return { networks: [], ownBridge: 'br-' }
  return parseNetworks((await inspect(ids)).stdout, ownName)
}

/** Reads what `docker network inspect` prints: networks of others, and the bridge of our own. */
export function parseNetworks(json: string, ownName: string): Networks {
  const inspected = JSON.parse(json || '[]') as {
    Name: string
    Id: string
    Options?: Record<string, string> | null
    IPAM?: { Config?: { Subnet?: string }[] | null }
  }[]
  const own = inspected.find(({ Name }) => Name === ownName)
  return {
    networks: inspected
      .filter(network => network !== own)
      .flatMap(({ Name, IPAM }) =>
        (IPAM?.Config ?? []).flatMap(({ Subnet }) =>
          Subnet && !Subnet.includes(':') ? [{ subnet: Subnet, by: `Docker network "${Name}"` }] : [],
        ),
      ),
    ownSubnet: own?.IPAM?.Config?.[0]?.Subnet,
    ownBridge: own && (own.Options?.['com.docker.network.bridge.name'] ?? `br-${own.Id.slice(0, 12)}`),
  }
}

/** Reads /proc/net/route; the default route, unreachable routes and our own bridge (or, for `br-`, all of Docker's) do not count. */
export function parseRoutes(text: string, ownBridge: string | undefined): UsedNetwork[] {
  const isOwn = (device: string) => device === ownBridge || (ownBridge === 'br-' && /^br-[0-9a-f]{12}$/.test(device))
  return text
    .split('\n')
    .slice(1)
    .flatMap(line => {
      const [device = '', destination = '', , , , , , mask = ''] = line.split('\t')
      if (device === '' || device === '*' || isOwn(device) || mask.trim() === '00000000') return []
      const length = [...Number.parseInt(mask, 16).toString(2)].filter(bit => bit === '1').length
      const octets = (destination.match(/../g) ?? []).reverse().map(byte => Number.parseInt(byte, 16))
      return [{ subnet: `${octets.join('.')}/${length}`, by: `route on ${device}` }]
    })
}

/** Whether two networks in CIDR form share an address. */
export function overlap(one: string, other: string): boolean {
  const [first, second] = [one, other].map(text => {
    const [ip = '', length = '32'] = text.split('/')
    return { bits: ip.split('.').reduce((bits, octet) => bits * 256 + Number(octet), 0), length: Number(length) }
  })
  const shared = 2 ** (32 - Math.min(first!.length, second!.length))
  return Math.floor(first!.bits / shared) === Math.floor(second!.bits / shared)
}

/** An unused private /16; those outside Docker's own pools first, which it gives to the next network. */
function freeSubnet(used: readonly UsedNetwork[]): string | undefined {
  const candidates = [
    ...Array.from({ length: 100 }, (_, index) => `10.${100 + index}.0.0/16`),
    '172.30.0.0/16',
    '172.31.0.0/16',
  ]
  return candidates.find(candidate => !used.some(({ subnet }) => overlap(subnet, candidate)))
}
