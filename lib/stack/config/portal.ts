import { type Platform, type Service, webServer } from '../../platform/platform.ts'
import { fillTemplate, type RenderedFile, readTemplate } from '../../platform/render.ts'
import { applicationPath, portalNames, servicePath } from './gateway.ts'

/** The portal's page, relative to the state folder. */
export const portalIndex = 'config/portal/index.html'

/** The portal (one page, a tile per service) and the two pages for names that nothing answers. */
export async function portalFiles(platform: Platform): Promise<RenderedFile[]> {
  const isListed = (service: Service) => service.names.length > 0 || servicePath(service) !== undefined
  const services = platform.services.filter(service => service.name !== webServer && isListed(service))
  // without a name and a health check there is no tile
  const unlisted = platform.services.filter(service => !isListed(service))
  const tiles = [
    ...platform.groups.map(group => ({
      group,
      tiles: services.filter(service => service.group === group).map(service => serviceTile(platform, service)),
    })),
    { group: 'applications', tiles: platform.applications.names.map(name => applicationTile(platform, name)) },
  ].filter(({ tiles }) => tiles.length > 0)
  const groups = await Promise.all(
    tiles.map(async ({ group, tiles }) =>
      fill('group', {
        title: escapeHtml(capital(group)),
        tiles: (await Promise.all(tiles.map(renderTile))).join(''),
      }),
    ),
  )
  const home = `http://${portalNames(platform)[0] ?? platform.domain}/`
  const names = [...new Set(services.flatMap(({ hosts }) => hosts.map(({ name }) => name)))]
  const links = names.map(name => `<li>${linkTo(`http://${name}/`)}</li>`).join('\n      ')
  const files = {
    'index.html': await fill('index', {
      unlistedCount: String(unlisted.length),
      domain: platform.domain,
      groups: groups.join(''),
      unlisted: unlistedText(unlisted),
    }),
    'pages/unknown.html': await fill('page', {
      title: 'Nothing here',
      body: await fill('unknown', { home, names: links }),
    }),
    'pages/down.html': await fill('page', { title: 'No answer', body: await fill('down', { home }) }),
  }
  return Object.entries(files).map(([file, content]) => ({ path: `config/portal/${file}`, content }))
}

interface Tile {
  title: string
  description: string
  /** Where the state is probed; undefined where it cannot be. */
  probe: string | undefined
  /** As HTML: a version, or where the page's script finds it. */
  version: string
  links: string[]
  /** What a program is given to connect; no secrets. */
  addresses: string[]
}

function serviceTile(platform: Platform, service: Service): Tile {
  const version = escapeHtml(versionOf(service.image))
  return {
    title: service.title,
    description: service.description,
    probe: servicePath(service),
    version: `<p class="version" data-version="${version}">${version}</p>`,
    links: service.hosts.map(({ name, path }) => `http://${name}${path}`),
    addresses: addressesOf(platform, service),
  }
}

function applicationTile(platform: Platform, name: string): Tile {
  const [host = name] = name.split('.')
  return {
    title: capital(host),
    description: 'Runs in the cluster',
    probe: applicationPath(platform, name),
    version: `<p class="version" data-application="${escapeHtml(host)}"></p>`,
    links: [`http://${name}/`],
    addresses: [],
  }
}

/** What programs are configured with, one address for each documented port. */
function addressesOf({ settings, loopback: first }: Platform, service: Service): string[] {
  return service.ports.map(({ listen, target, gateway }) => {
    const name = service.hosts.find(({ port }) => port === target)?.name ?? service.names[0]
    // Docker takes localhost for a registry without TLS
    if (service.loopback === first) return `localhost:${listen}`
    if (gateway !== undefined) return `http://${name}:${listen}`
    return service.name === 'timescaledb'
      ? `postgres://${settings.POSTGRES_USER}@${name}:${listen}/${settings.POSTGRES_DB}`
      : `${name}:${listen}`
  })
}

function unlistedText(services: readonly Service[]): string {
  const names = services.map(({ name }) => name).join(', ')
  return names === '' ? '' : `Not probed, because nothing outside reaches them: ${escapeHtml(names)}. `
}

async function renderTile({ title, description, probe, version, links, addresses }: Tile): Promise<string> {
  const items = await Promise.all(addresses.map(address => fill('address', { address: escapeHtml(address) })))
  return fill('tile', {
    title: escapeHtml(title),
    description: escapeHtml(description),
    state: probe === undefined ? notProbed : (await fill('state', { probe: escapeHtml(probe) })).trimEnd(),
    version,
    links:
      links.length === 0
        ? ''
        : `        <p class="links">\n          ${links.map(linkTo).join('\n          ')}\n        </p>\n`,
    addresses: items.length === 0 ? '' : `        <ul class="addresses">\n${items.join('')}        </ul>\n`,
  })
}

const notProbed = '<span class="state" data-state="none">not probed</span>'

/** The tag of an image, or the start of its digest. */
function versionOf(image: string): string {
  const [name = '', digest] = image.split('@')
  return /:([^/:]+)$/.exec(name)?.[1] ?? digest?.slice(0, 19) ?? ''
}

function linkTo(url: string): string {
  return `<a href="${escapeHtml(url)}">${escapeHtml(url.replace(/^http:\/\//, '').replace(/^([^/]+)\/$/, '$1'))}</a>`
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}

async function fill(name: string, values: Record<string, string>): Promise<string> {
  return fillTemplate(await readTemplate(`portal/${name}.html`), values, `portal/${name}.html`)
}
