import { networkInterfaces } from 'node:os'
import type { Platform, Route } from '../platform/platform.ts'
import { webServer } from '../platform/platform.ts'
import { type Address, addressText } from '../system/address.ts'
import { codeOf, PlatformError } from '../system/errors.ts'
import { converse, postgresGreeting, speaksPostgres } from '../system/tcp.ts'
import { NotYet, waitFor } from '../system/wait.ts'

/** What a look at a route from outside shows. */
export interface RouteHealth {
  route: Route
  /** `idle`: it listens, and its target does not run (yet); `silent`: both run, and nothing comes through. */
  state: 'flows' | 'idle' | 'silent' | 'refused'
  detail: string
}

export type Language = 'http' | 'postgres'

export interface VerifyOptions {
  /** The protocol behind the route, where it is known: an answer of any kind proves that data flows, both ways. */
  speaks: Language | undefined
  /** How long it may take to become right. */
  withinMs?: number
}

/** One look at a route takes at most this long: more than the 3 s after which the gateway answers for a container that is not there (proxy_connect_timeout). */
const lookMs = 4000

/** Looks at a route from outside until it is as it should be, or the time is over; returns what the last look showed. */
export async function verifyRoute(route: Route, options: VerifyOptions): Promise<RouteHealth> {
  let last = await lookAtRoute(route, options)
  const isRight = ({ state }: RouteHealth) => state === 'flows' || state === 'idle'
  const timeoutMs = options.withinMs ?? 5000
  if (isRight(last) || timeoutMs === 0) return last
  const look = async () => {
    last = await lookAtRoute(route, options)
    return isRight(last) ? last : new NotYet(last.detail)
  }
  const onTimeout = (seen: string) => new PlatformError(seen)
  return waitFor(look, { timeoutMs, pauseMs: 100, onTimeout }).catch(() => last)
}

async function lookAtRoute(route: Route, { speaks }: VerifyOptions): Promise<RouteHealth> {
  const through = await talk(route.listen, speaks)
  if (through === 'answers') return { route, state: 'flows', detail: 'answers' }
  if (through === 'unreachable')
    return { route, state: 'refused', detail: `nothing listens on ${addressText(route.listen)}` }
  // Connections to a network that is not there would leave the machine.
  if (!isHere(route.target))
    return { route, state: 'idle', detail: 'nothing behind it yet: the network of the containers is not up' }
  const direct = await talk(route.target, speaks)
  return direct === 'answers'
    ? {
        route,
        state: 'silent',
        detail: `${addressText(route.target)} answers directly, but not through the route`,
      }
    : {
        route,
        state: 'idle',
        detail: `nothing behind it yet: ${route.service} does not answer at ${addressText(route.target)}`,
      }
}

/** The protocol at a route's target; undefined where the catalogue does not show it. */
export function languageOf(platform: Pick<Platform, 'services'>, { target }: Route): Language | undefined {
  const service = platform.services.find(({ address }) => address === target.ip)
  if (service === undefined) return undefined
  if (service.name === webServer || service.httpPorts.includes(target.port)) return 'http'
  return speaksPostgres(target.port) ? 'postgres' : undefined
}

/** Connects and, where its protocol is known, sends a greeting: an answer, a connection that stays open, one that is closed, or none. */
export async function talk(
  address: Address,
  language: Language | undefined,
): Promise<'answers' | 'closes' | 'unreachable'> {
  const request = `HEAD / HTTP/1.1\r\nHost: ${address.ip}\r\nConnection: close\r\n\r\n`
  const sent = language === 'http' ? request : language === 'postgres' ? postgresGreeting : undefined
  try {
    await converse(address, AbortSignal.timeout(lookMs), sent)
    return 'answers'
  } catch (error) {
    const code = error instanceof PlatformError ? codeOf(error.cause) : undefined
    return /^(ECONNREFUSED|E(HOST|NET)UNREACH|EADDRNOTAVAIL)$/.test(code ?? '') ? 'unreachable' : 'closes'
  }
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
