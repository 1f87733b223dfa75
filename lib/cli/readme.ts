import { type Platform, type Service, urlOf } from '../platform/platform.ts'
import { publishedFor } from '../platform/services.ts'
import type { Taskfile } from './taskfile.ts'

/** The tables of README.md that derive from the catalogue and the Taskfile, by the name of their marker. */
export function readmeTables(platform: Platform, { tasks }: Taskfile): Record<string, string> {
  return {
    urls: markdownTable(
      ['Service', 'Open', 'Address', 'Group'],
      platform.services
        .filter(({ names }) => names.length > 0)
        .map(service => [service.title, pages(service), addresses(service, platform.services), service.group]),
    ),
    applications: markdownTable(
      ['Application', 'Open', 'Address'],
      platform.applications.names.map(name => [
        name.split('.')[0] ?? name,
        `http://${name}`,
        `${platform.wildcard}:80`,
      ]),
    ),
    tasks: markdownTable(
      ['Task', 'What it does'],
      Object.entries(tasks).flatMap(([name, { desc }]) => (desc === undefined ? [] : [[`\`${name}\``, desc]])),
    ),
  }
}

/** Replaces each table between its markers, `<!-- table:NAME -->` and `<!-- /table -->`. */
export function withTables(readme: string, tables: Readonly<Record<string, string>>): string {
  return readme.replace(
    /(<!-- table:(\w+) -->\n)[\s\S]*?(<!-- \/table -->)/g,
    (_, open: string, name: string, close: string) => `${open}\n${tables[name] ?? `unknown table ${name}`}\n\n${close}`,
  )
}

function pages(service: Service): string {
  if (service.hosts.length === 0) return `\`${urlOf(service)}\``
  return service.hosts.map(({ name, path }) => `http://${name}${path === '/' ? '' : path}`).join('<br>')
}

function addresses(service: Service, services: readonly Service[]): string {
  const { loopback, ports } = service
  const routed = ports.map(({ listen }) => `${loopback}:${listen}`)
  const own = [...new Set(publishedFor(service, services).map(({ ip, hostPort }) => `${ip}:${hostPort}`))]
  return [...routed, ...own].map(address => `\`${address}\``).join('<br>') || `\`${loopback}:80\``
}

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n')
}
