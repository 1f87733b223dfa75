import { type Platform, type Service, urlOf, webServer } from '../../platform/platform.ts'
import { fillTemplate, type RenderedFile, readTemplate } from '../../platform/render.ts'
import { portalNames, probedServices } from './gateway.ts'

/** The portal's page, relative to the state folder. */
export const portalIndex = 'config/portal/index.html'

/** The portal (one page, a tile per service) and the two pages for names that lead nowhere. */
export async function portalFiles(platform: Platform): Promise<RenderedFile[]> {
  const [index, group, tile, state, page, unknown, down] = await Promise.all(
    ['index', 'group', 'tile', 'state', 'page', 'unknown', 'down'].map(name => readTemplate(`portal/${name}.html`)),
  )
  const fill = (name: string, template: string | undefined, values: Record<string, string>) =>
    fillTemplate(template ?? '', values, `portal/${name}.html`)
  const probed = new Set(probedServices(platform).map(({ name }) => name))
  const services = platform.services.filter(({ name, names }) => name !== webServer && names.length > 0)
  const { domain } = platform

  const tileOf = ({ title, description, links, service }: Tile) =>
    fill('tile', tile, {
      title: escapeHtml(title),
      description: escapeHtml(description),
      state: service !== undefined && probed.has(service) ? fill('state', state, { service }).trimEnd() : '',
      links: links.map(linkTo).join('\n        '),
    })
  const groups = platform.groups
    .map(name => ({ name, tiles: services.filter(({ group }) => group === name).map(tileOfService) }))
    .concat({ name: 'applications', tiles: platform.applications.names.map(name => applicationTile(name)) })
    .filter(({ tiles }) => tiles.length > 0)
    .map(({ name, tiles }) =>
      fill('group', group, { title: escapeHtml(capital(name)), tiles: tiles.map(tileOf).join('') }),
    )

  const home = `http://${portalNames(platform)[0] ?? domain}/`
  const names = [...new Set(services.flatMap(({ hosts }) => hosts.map(({ name }) => name)))]
  const files = {
    'index.html': fill('index', index, { domain, groups: groups.join('') }),
    'pages/unknown.html': fill('page', page, {
      title: 'Nothing here',
      body: fill('unknown', unknown, {
        home,
        names: names.map(name => `<li>${linkTo(`http://${name}/`)}</li>`).join('\n      '),
      }),
    }),
    'pages/down.html': fill('page', page, { title: 'No answer', body: fill('down', down, { home }) }),
  }
  return Object.entries(files).map(([file, content]) => ({ path: `config/portal/${file}`, content }))
}

interface Tile {
  title: string
  description: string
  links: string[]
  /** The service whose state the tile shows. */
  service?: string
}

function tileOfService(service: Service): Tile {
  const pages = service.hosts.map(({ name, path }) => `http://${name}${path}`)
  return {
    title: service.title,
    description: service.description,
    links: pages.length > 0 ? pages : [urlOf(service)].filter(Boolean),
    service: service.name,
  }
}

function applicationTile(name: string): Tile {
  const [host = name] = name.split('.')
  return { title: capital(host), description: 'Runs in the cluster', links: [`http://${name}/`] }
}

/** A link where a browser can follow it, else just the address to copy. */
function linkTo(url: string): string {
  const text = escapeHtml(url.replace(/^http:\/\//, '').replace(/^([^/]+)\/$/, '$1'))
  return url.startsWith('http://') ? `<a href="${escapeHtml(url)}">${text}</a>` : `<code>${text}</code>`
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}
