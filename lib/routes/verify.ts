import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import type { Platform, Route } from '../platform/platform.ts'
import { webServer } from '../platform/platform.ts'
import type { Address } from '../system/address.ts'
import { postgresGreeting, speaksPostgres } from '../system/tcp.ts'

/** What a look at a route from outside shows. */
export interface RouteHealth {
  route: Route
  /** `idle`: it listens, and its target does not run; `silent`: both are there, and nothing comes through. */
  state: 'flows' | 'idle' | 'silent' | 'refused'
  detail: string
}

export type Language = 'http' | 'postgres'

export interface VerifyOptions {
  /** What is spoken behind the route, where we know it: an answer of any kind proves that data flows, both ways. */
  speaks: Language | undefined
  /** How long it may take to become right. */
  withinMs?: number
}

/** One look at a route takes at most this long, whoever does not answer. */
const lookMs = 2000
/** A forwarder that cannot reach its target closes the connection at once; this is long enough to see it. */
const staysOpenMs = 150

/** Looks at a route from outside until it is as it should be, or the time is over. */
export async function verifyRoute(route: Route, options: VerifyOptions): Promise<RouteHealth> {
  const deadline = Date.now() + (options.withinMs ?? 5000)
  for (;;) {
    const health = await lookAtRoute(route, options)
    if (health.state === 'flows' || health.state === 'idle' || Date.now() > deadline) return health
    await pause(100)
  }
}

async function lookAtRoute(route: Route, { speaks }: VerifyOptions): Promise<RouteHealth> {
  const through = await talk(route.listen, speaks)
  if (through === 'answers') return { route, state: 'flows', detail: 'answers' }
  if (through === 'unreachable')
    return { route, state: 'refused', detail: `nothing listens on ${route.listen.ip}:${route.listen.port}` }
  // Connections to a network that is not there would leave the machine.
  if (!isHere(route.target)) return { route, state: 'idle', detail: 'listens; the network of the containers is not up' }
  const direct = await talk(route.target, speaks)
  return direct === 'answers'
    ? {
        route,
        state: 'silent',
        detail: `${route.target.ip}:${route.target.port} answers directly, but not through the route`,
      }
    : {
        route,
        state: 'idle',
        detail: `listens; ${route.service} does not answer at ${route.target.ip}:${route.target.port}`,
      }
}

/** What is spoken at a route's target; undefined where nothing tells. */
export function languageOf(platform: Pick<Platform, 'services'>, { target }: Route): Language | undefined {
  const service = platform.services.find(({ address }) => address === target.ip)
  if (service === undefined) return undefined
  if (service.name === webServer || service.httpPorts.includes(target.port)) return 'http'
  return speaksPostgres(target.port) ? 'postgres' : undefined
}

/** Opens a connection and waits for it to answer, or, where we do not speak the language, to stay open. */
export function talk(
  { ip, port }: Address,
  language: Language | undefined,
): Promise<'answers' | 'closes' | 'unreachable'> {
  return new Promise(resolve => {
    let connected = false
    const socket = connect({ host: ip, port })
    const end = (outcome: 'answers' | 'closes' | 'unreachable') => {
      clearTimeout(late)
      socket.destroy()
      resolve(outcome)
    }
    const late = setTimeout(() => end(connected ? 'closes' : 'unreachable'), lookMs)
    socket.once('connect', () => {
      connected = true
      if (language === 'http') socket.write(`HEAD / HTTP/1.1\r\nHost: ${ip}\r\nConnection: close\r\n\r\n`)
      else if (language === 'postgres') socket.write(postgresGreeting)
      else setTimeout(() => end('answers'), staysOpenMs)
    })
    socket.once('data', () => end('answers'))
    socket.once('end', () => end('closes'))
    socket.once('error', () => end(connected ? 'closes' : 'unreachable'))
  })
}

function isHere({ ip }: Address): boolean {
  const network = (address: string) => address.split('.').slice(0, 2).join('.')
  return (
    ip.startsWith('127.') ||
    Object.values(networkInterfaces()).some(addresses =>
      addresses?.some(({ address }) => network(address) === network(ip)),
    )
  )
}
