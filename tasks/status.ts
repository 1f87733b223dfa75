#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { styleText } from 'node:util'
import { defineTask } from '../lib/cli/task.ts'
import { type ClusterRow, clusterStatus } from '../lib/cluster/cluster-status.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { alertsLine, firingAlerts, isQuiet } from '../lib/stack/alerts.ts'
import { isWell, type ServiceStatus, statusOf } from '../lib/stack/status.ts'
import { elapsed, table } from '../lib/system/text.ts'

export default defineTask({
  name: 'status',
  summary: 'Show every service, its URL and its state',
  leaves: [],
  undo: '',
  options: {
    json: {
      type: 'boolean',
      help: 'print { "services": [...], "cluster": [...], "alerts": [...] } on stdout and nothing else there',
    },
  },
  async run({ options, out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const [services, cluster, alerts] = await Promise.all([
      statusOf(platform),
      clusterStatus(platform),
      firingAlerts(platform),
    ])
    if (options.json) {
      // every key in every row: what is not known is null
      const rows = services.map(({ standIn, standInName, since, ...service }) => ({
        ...service,
        since: since ?? null,
        standin: standIn ?? null,
        standinName: standInName ?? null,
      }))
      const clusterRows = cluster.map(row => ({
        ...row,
        since: row.since ?? null,
        digest: row.digest ?? null,
        current: row.current ?? null,
      }))
      // null = nobody could say
      out.json({ services: rows, cluster: clusterRows, alerts: alerts && 'firing' in alerts ? alerts.firing : null })
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
    const clusterTable = cluster.map((row, index) => [
      index === 0 ? 'cluster' : '',
      row.name,
      row.url,
      row.kind,
      paint({ ...row, standIn: undefined }, out.color),
      elapsed(row.since, now),
      row.detail,
    ])
    out.result(table(['GROUP', 'SERVICE', 'URL', 'ADDRESS', 'STATE', 'SINCE', ''], [...rows, ...clusterTable]))
    const alertLine = alertsLine(alerts)
    if (alertLine !== undefined) out.result(out.color && !isQuiet(alerts) ? styleText('red', alertLine) : alertLine)
    const troubled = sorted.filter(service => !isWell(service))
    const offCluster = cluster.filter(row => !isWell(row))
    if (troubled.length === 0 && offCluster.length > 0)
      return out.summary(
        `${servicesUp(sorted)}; ${offCluster.length} of ${cluster.length} parts of the cluster ${offCluster.length === 1 ? 'is' : 'are'} not up. Look closer: ${clusterHint(offCluster)}`,
      )
    out.summary(
      troubled.length === 0
        ? `${servicesUp(sorted)}. Use each of them from outside: task verify`
        : `${troubled.length} of ${sorted.length} services ${troubled.length === 1 ? 'is' : 'are'} not up. Look closer: ${hintFor(troubled)}`,
    )
  },
})

function paint({ state, standIn }: Pick<ServiceStatus, 'standIn'> & { state: string }, color: boolean): string {
  if (!color) return state
  if (!isWell({ state })) return styleText(state === 'starting' ? 'yellow' : 'red', state)
  return styleText(standIn === 'placeholder' ? 'yellow' : 'green', state)
}

/** What a reader has to know beside the state: that it is not the real thing, or why it is not well. */
function note({ state, standIn, standInName, detail }: ServiceStatus): string {
  const marks = { real: 'stand-in', other: standInName ?? 'another program', placeholder: 'placeholder' }
  const mark = standIn === undefined ? '' : marks[standIn]
  return [mark, isWell({ state }) || detail === state ? '' : detail].filter(Boolean).join('; ')
}

/** That all services are up, and how far that was seen: a placeholder does not do a service's work, and a state of the engine's is no probe. */
function servicesUp(services: readonly ServiceStatus[]): string {
  const placeholders = services.filter(({ standIn }) => standIn === 'placeholder').length
  const unprobed = services.filter(({ state }) => state === 'running').map(({ name }) => name)
  return [
    `All ${services.length} services are up`,
    ...(placeholders === 0 ? [] : [`${placeholders} of them ${placeholders === 1 ? 'a placeholder' : 'placeholders'}`]),
    ...(unprobed.length === 0 ? [] : [`${new Intl.ListFormat('en').format(unprobed)} not probed from outside`]),
  ].join(', ')
}

function hintFor(troubled: readonly ServiceStatus[]): string {
  if (troubled.every(({ state }) => state === 'not created' || state === 'exited')) return 'task start-infrastructure'
  if (troubled.some(({ detail }) => detail.includes('does not resolve'))) return 'task setup-dnsmasq'
  return `task logs -- ${troubled[0]?.name}`
}

function clusterHint(rows: readonly ClusterRow[]): string {
  if (rows.some(({ state }) => state === 'stopped')) return 'task start-cluster'
  const [row] = rows.filter(({ kind }) => kind !== 'node')
  if (row?.state === 'not created') return row.kind === 'ingress' ? 'task deploy-ingress' : 'task deploy-apps'
  return `task logs -- ${row?.name ?? 'ingress'}`
}
