import type { Route } from '../../lib/platform/platform.ts'
import { checkout, type Machine } from './machine.ts'

/** Unit on the machine that answers at the targets. */
export const targetsUnit = 'containers.service'

/**
 * Gives a machine without a Docker engine what routes forward to: a bridge with the containers' addresses, and a server at each target that
 * answers with `ip:port`. They come up with the machine, but late, as containers do.
 */
export async function installTargets(machine: Machine, routes: readonly Route[]): Promise<void> {
  const targets = [...new Set(routes.map(({ target }) => `${target.ip}:${target.port}`))]
  const addresses = [...new Set(routes.map(({ target }) => target.ip))]
  const commands = [
    'ip link add containers type bridge',
    'ip link set containers up',
    'ip address add 172.23.0.1/16 dev containers',
    ...addresses.map(address => `ip address add ${address}/16 dev containers`),
  ]
  const unit = `[Service]
ExecStartPre=/bin/sh -c 'ip link delete containers 2>/dev/null; ${commands.join(' && ')}'
ExecStart=/usr/bin/node ${checkout}/test/helpers/targets.mjs ${targets.join(' ')}
[Install]
WantedBy=multi-user.target
`
  await machine.run(['sh', '-c', 'cat >"$0"', `/etc/systemd/system/${targetsUnit}`], { input: unit })
  await machine.sh('systemctl daemon-reload; systemctl enable --now "$1"', targetsUnit)
}

/** What happened to a steady stream of requests, each with a connection of its own. */
export interface Stream {
  answered: number
  /** Connections that nobody accepted: the listener was closed. */
  refused: number
  /** Accepted, then broken off. */
  broken: number
  /** Longest time between two answers. */
  longestGapMs: number
}

/** Sends requests to `address` every 5 ms for some seconds, from the machine itself. */
export async function streamRequests(machine: Machine, address: string, seconds: number): Promise<Stream> {
  const { stdout } = await machine.run(['node', '--input-type=module', '-', address, String(seconds)], {
    input: streamScript,
  })
  return JSON.parse(stdout) as Stream
}

/** What one request from the machine to `ip:port` gets, and after how long. */
export async function requestFrom(
  machine: Machine,
  address: string,
): Promise<{ body: string | undefined; error: string | undefined; milliseconds: number }> {
  const { stdout } = await machine.run(['node', '--input-type=module', '-', address], { input: requestScript })
  return JSON.parse(stdout)
}

/** Opens idle connections to an address and, while they are open, sends one request; gives what that one gets. */
export async function requestBesideIdle(
  machine: Machine,
  address: string,
  count: number,
): Promise<{ open: number; body: string | undefined; milliseconds: number }> {
  const { stdout } = await machine.run(['node', '--input-type=module', '-', address, String(count)], {
    input: idleScript,
  })
  return JSON.parse(stdout)
}

const request = `
import { get } from 'node:http'
const request = (address, timeout = 30000) => new Promise(resolve => {
  const started = performance.now()
  const end = outcome => resolve({ ...outcome, milliseconds: Math.round(performance.now() - started) })
  const call = get('http://' + address + '/', { agent: false, timeout }, response => {
    let body = ''
    response.on('data', chunk => (body += chunk)).on('end', () => end({ body })).on('error', error => end({ error: error.code }))
  })
  call.on('error', error => end({ error: error.code })).on('timeout', () => call.destroy(Object.assign(new Error(), { code: 'timeout' })))
})
const address = process.argv[2]
`

const requestScript = `${request}
console.log(JSON.stringify(await request(address)))
process.exit()
`

const streamScript = `${request}
const until = Date.now() + Number(process.argv[3]) * 1000
const stream = { answered: 0, refused: 0, broken: 0, longestGapMs: 0 }
let last = performance.now()
const all = []
while (Date.now() < until) {
  all.push(request(address, 5000).then(({ body, error }) => {
    if (body !== undefined) {
      stream.answered += 1
      stream.longestGapMs = Math.max(stream.longestGapMs, Math.round(performance.now() - last))
      last = performance.now()
    } else if (error === 'ECONNREFUSED') stream.refused += 1
    else stream.broken += 1
  }))
  await new Promise(resume => setTimeout(resume, 5))
}
await Promise.all(all)
stream.longestGapMs = Math.max(stream.longestGapMs, Math.round(performance.now() - last))
console.log(JSON.stringify(stream))
process.exit()
`

const idleScript = `${request}
import { connect } from 'node:net'
const [ip, port] = address.split(':')
const open = await Promise.all(Array.from({ length: Number(process.argv[3]) }, () => new Promise(resolve => {
  const socket = connect(Number(port), ip, () => resolve(socket))
  socket.on('error', () => resolve(undefined))
})))
const answer = await request(address)
console.log(JSON.stringify({ open: open.filter(socket => socket && !socket.destroyed).length, ...answer }))
process.exit()
`
