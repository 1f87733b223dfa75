import { type Platform, type Service, type VirtualHost, webServer } from '../platform/platform.ts'
import { describeContainer, isHealthy } from '../stack/docker.ts'
import { addressText } from '../system/address.ts'
import { PlatformError } from '../system/errors.ts'
import { postgres, speaksPostgres, tcp } from '../system/tcp.ts'
import type { Check, CheckContext, CheckGroup, Tools } from './check.ts'

/** Every documented URL answers, with its port and without, and every other routed port takes connections. */
export const urls: CheckGroup = context => context.platform.services.flatMap(service => checksOf(service, context))

/** The check that shows that the web server in front of all names works; what comes through port 80 needs it. */
export function webServerCheck(platform: Platform): string {
  const page = platform.services.find(({ name }) => name === webServer)?.hosts[0]
  return page === undefined ? '' : pageUrl(page)
}

/** The checks that a request to `http://<name>/` needs. */
export function needsOf(platform: Platform, name: string): string[] {
  return [name, webServerCheck(platform)]
}

/** `http://registry.macula.local/v2/`; no path where it is the root, as people write it. */
export function pageUrl({ name, path }: VirtualHost, port?: number): string {
  return `http://${name}${port === undefined ? '' : `:${port}`}${path === '/' ? '' : path}`
}

function checksOf(service: Service, { platform, containers }: CheckContext): Check[] {
  const isWebServer = service.name === webServer
  const routed = service.loopback !== platform.loopback && service.names.length > 0 ? service.ports : []
  const pages = service.hosts.map(page =>
    pageCheck(service, page, isWebServer ? [page.name] : needsOf(platform, page.name)),
  )
  const ports = routed.flatMap(({ listen, target, gateway }) => {
    const page = service.hosts.find(({ port }) => port === target)
    const [name = ''] = service.names
    if (page) return [pageCheck(service, page, needsOf(platform, page.name), listen)]
    return [
      gateway === undefined
        ? portCheck(service, name, listen, target)
        : httpPortCheck(service, name, listen, needsOf(platform, name)),
    ]
  })
  if (pages.length + ports.length > 0) return [...pages, ...ports]
  // nothing outside reaches it, so the engine's state is all there is
  return [
    {
      name: service.container,
      service: service.name,
      async run() {
        const container = containers.get(service.name)
        if (!isHealthy(container)) throw new PlatformError('not healthy')
        return describeContainer(container)
      },
    },
  ]
}

function pageCheck(service: Service, page: VirtualHost, needs: string[], port?: number): Check {
  const { health } = service
  const url = pageUrl(page, port)
  const isHealth = health?.path !== undefined && health.port === page.port
  const asked = new URL(isHealth ? (health.path ?? '/') : page.path, url).href
  return {
    name: url,
    service: service.name,
    needs,
    async run({ http }) {
      const { status } = await http(asked)
      // pages without a health path may require a login, or redirect to one
      const right = isHealth
        ? status >= 200 && status < 300
        : (status >= 200 && status < 400) || status === 401 || status === 403
      if (!right) throw new PlatformError(`${asked} answers ${status}`)
      return asked === url || asked === `${url}/` ? String(status) : `${new URL(asked).pathname} answers ${status}`
    },
  }
}

/** A port without a page: any answer shows that the service works, except nginx's own for a service that it cannot reach. */
function httpPortCheck(service: Service, name: string, port: number, needs: string[]): Check {
  const url = `http://${name}:${port}`
  return {
    name: url,
    service: service.name,
    needs,
    realOnly: true,
    async run({ http }) {
      const { status } = await http(`${url}/`)
      if (status === 502 || status === 504) throw new PlatformError(`${url} answers ${status}: nginx does not reach it`)
      return `answers ${status}`
    },
  }
}

function portCheck(service: Service, name: string, port: number, target: number): Check {
  return {
    name: `${name}:${port}`,
    service: service.name,
    needs: [name],
    realOnly: true,
    async run({ addressOf, signal }: Tools) {
      const address = { ip: await addressOf(name), port }
      await (speaksPostgres(target) ? postgres : tcp)(address, signal)
      return `${addressText(address)} answers`
    },
  }
}
