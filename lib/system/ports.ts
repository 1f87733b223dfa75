import { createServer } from 'node:net'
import { $, type Command, type Shell } from './exec.ts'
import { allPids, commandOf, openFilesOf, procText } from './proc.mjs'

export type Protocol = 'tcp' | 'udp'

/** A socket that somebody listens on, as the kernel of this machine (or of this network namespace) lists it. */
export interface Listener {
  protocol: Protocol
  /** The address as bound; `0.0.0.0` and `::` stand for all of them. */
  ip: string
  port: number
  /** Who holds it; absent where the kernel does not tell this user (somebody else's process, and we are not root). */
  process?: { pid: number; name: string; command: readonly string[] }
  /** Owner of the socket, as a number; absent where it is not known. */
  uid?: number
  /** Name of the Docker container that it is published for or held in. */
  container?: string
}

interface KernelSocket extends Listener {
  inode: string
}

/** Commands that are not needed for an answer, only for a better one. */
const quick = { timeout: '5s', nothrow: true } as const

/** Everything that listens on this machine, with the process that holds it: from /proc on Linux, from `lsof` elsewhere. */
export async function openSockets(shell: Shell = $, platform = process.platform): Promise<Listener[]> {
  return platform === 'linux'
    ? linuxListeners()
    : parseLsof(await outputOf(shell(quick)`lsof -nP -iTCP -sTCP:LISTEN -iUDP -F pcuPn`))
}

/** The same; on Linux who holds them is looked for among these processes only, which takes a tenth of the time. */
export async function socketsHeldBy(pids: readonly number[], platform = process.platform): Promise<Listener[]> {
  return platform === 'linux' ? linuxListeners(pids) : openSockets($, platform)
}

/** The same without who holds them, which is what takes the time. */
export async function boundSockets(platform = process.platform): Promise<Listener[]> {
  return platform === 'linux' ? kernelSockets() : openSockets($, platform)
}

/** Whether anybody listens on just this TCP address. */
export async function isListenedOn(
  { ip, port }: { ip: string; port: number },
  platform = process.platform,
): Promise<boolean> {
  const sockets = platform === 'linux' ? kernelSockets(['tcp']) : await boundSockets(platform)
  return sockets.some(socket => socket.protocol === 'tcp' && socket.ip === ip && socket.port === port)
}

/** Every open socket with the names of containers; Docker may be absent, then they are missing. */
export async function listeners(shell: Shell = $, platform = process.platform): Promise<Listener[]> {
  const format = '{{.ID}}\t{{.Names}}\t{{.Ports}}'
  const [sockets, listed] = await Promise.all([
    openSockets(shell, platform),
    outputOf(shell(quick)`docker ps --no-trunc --format ${format}`),
  ])
  const containers = parseContainers(listed)
  return sockets.map(listener => {
    const container = containerOf(listener, containers)
    return container === undefined ? listener : { ...listener, container }
  })
}

/** Those of `table` that keep others from listening on ip:port: the same address, or all addresses. */
export function holdersOf(
  { ip, port }: { ip: string; port: number },
  table: readonly Listener[],
  protocol: Protocol = 'tcp',
): Listener[] {
  return table.filter(
    listener => listener.protocol === protocol && listener.port === port && [ip, '0.0.0.0', '::'].includes(listener.ip),
  )
}

/** A listener's holder in words: `container "web" (docker-proxy, pid 812)`, `nginx (pid 77)`, `a process of user 0`. */
export function describeHolder(listener: Listener): string {
  const { process, container, uid } = listener
  const program =
    process === undefined ? undefined : `${process.name}${container === undefined ? ' (' : ', '}pid ${process.pid}`
  if (container !== undefined) return `container "${container}"${program === undefined ? '' : ` (${program})`}`
  if (program !== undefined) return `${program})`
  return uid === undefined
    ? 'a process that this user cannot see'
    : `a process of user ${uid}, which this user cannot see`
}

/** A command that frees the port, or that shows who has it where we do not know. */
export function hintToFree(listener: Listener): string {
  if (listener.container !== undefined) return `docker stop ${listener.container}`
  if (listener.process === undefined) return `sudo ss -ltnup 'sport = :${listener.port}'   # shows who holds it`
  if (listener.process.pid === 1) return `systemctl list-sockets | grep ':${listener.port} '   # shows the unit to stop`
  return `Stop ${listener.process.name}, for instance with: kill ${listener.process.pid}`
}

/**
 * Whether this process could listen on the TCP address right now. `denied` where only root may (ports below 1024);
 * needed beside the table of listeners because that does not tell whether `::` takes IPv4 along.
 */
export function tryBind({ ip, port }: { ip: string; port: number }): Promise<'free' | 'held' | 'denied'> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EACCES' ? 'denied' : 'held'))
    server.listen({ host: ip, port, exclusive: true }, () => server.close(() => resolve('free')))
  })
}

// the kernel takes some milliseconds for each of these tables, however short they are
function kernelSockets(tables: readonly string[] = ['tcp', 'tcp6', 'udp', 'udp6']): KernelSocket[] {
  return tables.flatMap(name => parseProcNet(procText(`self/net/${name}`) ?? '', name.slice(0, 3) as Protocol))
}

function linuxListeners(pids: readonly number[] = allPids()): Listener[] {
  const sockets = kernelSockets()
  const holders = processesHolding(new Set(sockets.map(socket => socket.inode)), pids)
  return sockets.map(({ inode, ...listener }) => {
    const process = holders.get(inode)
    return process === undefined ? listener : { ...listener, process }
  })
}

/** Reads /proc/net/tcp, tcp6, udp or udp6: the sockets that wait for somebody to connect or send. */
export function parseProcNet(text: string, protocol: Protocol): KernelSocket[] {
  // 0A is LISTEN; 07 is how an unconnected UDP socket is shown
  const waiting = protocol === 'tcp' ? '0A' : '07'
  return text
    .split('\n')
    .slice(1)
    .map(line => line.trim().split(/\s+/))
    .filter(columns => columns[3] === waiting)
    .map(columns => {
      const [address = '', port = ''] = columns[1]!.split(':')
      return {
        protocol,
        ip: hexAddress(address),
        port: Number.parseInt(port, 16),
        uid: Number(columns[7]),
        inode: columns[9]!,
      }
    })
}

// The kernel prints addresses as 32 bit words in host byte order, which is little endian wherever we run.
function hexAddress(hex: string): string {
  const words = hex.match(/.{8}/g) ?? []
  const bytes = words.flatMap(word => (word.match(/../g) ?? []).reverse().map(byte => Number.parseInt(byte, 16)))
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.every(byte => byte === 0)) return '::'
  if (bytes.slice(0, 10).every(byte => byte === 0) && bytes[10] === 255 && bytes[11] === 255)
    return bytes.slice(12).join('.')
  const groups = Array.from({ length: 8 }, (_, index) => (bytes[2 * index]! * 256 + bytes[2 * index + 1]!).toString(16))
  return groups.join(':').replace(/(^|:)0(:0)+(:|$)/, '::')
}

// Several processes may hold one socket: a server and its workers, or systemd and the service it passed it to.
// The oldest one that is not systemd is the one a person knows.
function processesHolding(
  inodes: ReadonlySet<string>,
  pids: readonly number[],
): Map<string, NonNullable<Listener['process']>> {
  const holders = new Map<string, number>()
  for (const pid of [...pids].sort((a, b) => a - b)) {
    for (const target of openFilesOf(pid)) {
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1]
      if (inode !== undefined && inodes.has(inode) && (holders.get(inode) ?? 1) === 1) holders.set(inode, pid)
    }
  }
  const known = new Map<string, NonNullable<Listener['process']>>()
  for (const [inode, pid] of holders) {
    const name = procText(`${pid}/comm`)?.trim() ?? ''
    if (name !== '') known.set(inode, { pid, name, command: commandOf(pid) ?? [] })
  }
  return known
}

/** Reads the output of `lsof -F pcuPn`. */
export function parseLsof(text: string): Listener[] {
  const found: Listener[] = []
  let holder = { pid: 0, name: '', uid: 0 }
  let protocol: Protocol = 'tcp'
  for (const line of text.split('\n')) {
    const value = line.slice(1)
    if (line.startsWith('p')) holder = { pid: Number(value), name: '', uid: 0 }
    else if (line.startsWith('c')) holder.name = value
    else if (line.startsWith('u')) holder.uid = Number(value)
    else if (line.startsWith('P')) protocol = value === 'UDP' ? 'udp' : 'tcp'
    else if (line.startsWith('n') && /:\d+$/.test(value)) {
      const at = value.lastIndexOf(':')
      const host = value.slice(0, at).replace(/^\[(.*)\]$/, '$1')
      const { pid, name, uid } = holder
      found.push({
        protocol,
        ip: host === '*' ? '0.0.0.0' : host,
        port: Number(value.slice(at + 1)),
        uid,
        process: { pid, name, command: [] },
      })
    }
  }
  return found
}

interface PublishingContainer {
  id: string
  name: string
  /** `127.0.0.1:80/tcp`, one for each published port. */
  published: ReadonlySet<string>
}

/** Reads lines of `ID<tab>name<tab>ports` as `docker ps` prints them. */
export function parseContainers(text: string): PublishingContainer[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map(line => {
      const [id = '', name = '', ports = ''] = line.split('\t')
      const published = [...ports.matchAll(/([^\s,]+):(\d+)(?:-(\d+))?->[\d-]+\/(tcp|udp)/g)].flatMap(
        ([, ip, first, last, protocol]) =>
          Array.from(
            { length: Number(last ?? first) - Number(first) + 1 },
            (_, index) => `${ip!.replace(/^\[(.*)\]$/, '$1')}:${Number(first) + index}/${protocol}`,
          ),
      )
      return { id, name, published: new Set(published) }
    })
}

// A published port is held by docker-proxy (or Docker Desktop's helper); a container on the host's network holds its sockets itself.
function containerOf(
  { ip, port, protocol, process }: Listener,
  containers: readonly PublishingContainer[],
): string | undefined {
  if (containers.length === 0) return undefined
  const publishing = containers.find(container => container.published.has(`${ip}:${port}/${protocol}`))
  if (publishing !== undefined || process === undefined) return publishing?.name
  const groups = procText(`${process.pid}/cgroup`) ?? ''
  return containers.find(({ id }) => groups.includes(id))?.name
}

// a tool that is not there, or does not answer: we know less, and say less
async function outputOf(command: Command): Promise<string> {
  return command.then(
    ({ stdout }) => stdout,
    () => '',
  )
}
