import { styleText } from 'node:util'
import { placesOf } from '../lib/env.ts'
import { table } from '../lib/output.ts'
import { loadPlatform } from '../lib/platform.ts'
import { elapsed, type ServiceStatus, statusOf } from '../lib/status.ts'
import { defineTask } from '../lib/task.ts'

export default defineTask({
  name: 'status',
  summary: 'Show every service, its URL and whether it answers',
  leaves: [],
  undo: '',
  options: {
    json: { type: 'boolean', help: 'print { "services": [...] } on stdout and nothing else there' },
  },
  async run({ options, out, environment }) {
    const platform = await loadPlatform(placesOf(environment), environment)
    const services = await statusOf(platform)
    if (options.json) {
      // every key in every row: what is not known is null
      const rows = services.map(({ standIn, since, ...service }) => ({
        ...service,
        since: since ?? null,
        standin: standIn ?? null,
      }))
      out.json({ services: rows })
      return
    }

    const now = new Date()
    const sorted = platform.groups.flatMap(group => services.filter(service => service.group === group))
    const rows = sorted.map((service, index) => [
      service.group === sorted[index - 1]?.group ? '' : service.group,
      service.name,
      service.url,
      service.address,
      paint(service, out.color),
      elapsed(service.since, now),
      note(service),
    ])
    out.result(table(['GROUP', 'SERVICE', 'URL', 'ADDRESS', 'STATE', 'SINCE', ''], rows))
    const troubled = sorted.filter(({ state }) => !good.has(state))
    out.summary(
      troubled.length === 0
        ? `All ${sorted.length} services are up. Use each of them from outside: task verify`
        : `${troubled.length} of ${sorted.length} services are not up; look closer: ${hintFor(troubled)}`,
    )
  },
})

const good = new Set(['healthy', 'running'])

function paint({ state, standIn }: ServiceStatus, color: boolean): string {
  if (!color) return state
  if (!good.has(state)) return styleText(state === 'starting' ? 'yellow' : 'red', state)
  return styleText(standIn === 'placeholder' ? 'yellow' : 'green', state)
}

/** What a reader has to know beside the state: that it is not the real thing, or why it is not well. */
function note({ state, standIn, detail }: ServiceStatus): string {
  const mark = standIn === undefined ? '' : standIn === 'real' ? 'stand-in' : 'placeholder'
  return [mark, good.has(state) || detail === state ? '' : detail].filter(Boolean).join('; ')
}

function hintFor(troubled: readonly ServiceStatus[]): string {
  if (troubled.every(({ state }) => state === 'not created')) return 'task start-infrastructure'
  if (troubled.some(({ detail }) => detail.includes('does not resolve'))) return 'task setup-dnsmasq'
  return `task logs -- ${troubled[0]?.name}`
}
