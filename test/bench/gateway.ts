// Runs inside a sandbox whose platform is up, and measures what the check of `Host` and `Origin` costs: Prometheus at its documented address, by way
// of nginx, against a forward of the same kind that goes straight to its container. Both in turn, so that whatever else the machine does meets both.

import { execFileSync, spawn } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { loadPlatform } from '../../lib/platform/platform.ts'
import { pathsOf } from '../../lib/platform/settings.ts'
import { socatCommand } from '../helpers/route-commands.ts'
import { benchPrograms } from './programs.ts'
import { markdown, report } from './report.ts'
import { median, rounds, spread } from './timing.ts'

const env = await benchPrograms()
const platform = await loadPlatform(pathsOf(), process.env)
const prometheus = platform.services.find(({ name }) => name === 'prometheus')
if (prometheus === undefined) throw new Error('the platform has no prometheus')
const target = { ip: '172.23.0.20', port: 9090 }
const straight = { ip: prometheus.loopback, port: 19090 }
const [program = '', ...words] = socatCommand({
  group: 'data',
  service: 'prometheus',
  listen: straight,
  target,
} as Parameters<typeof socatCommand>[0])
const forward = spawn(program, words, { stdio: 'ignore', env })

const kinds = [
  { name: '`/-/ready`, connections kept', path: '/-/ready', headers: [] },
  { name: '`/-/ready`, a new connection for each request', path: '/-/ready', headers: ['-H', 'Connection: close'] },
  { name: '`/api/v1/query?query=up`, connections kept', path: '/api/v1/query?query=up', headers: [] },
]

/** Requests a second in two seconds of load over 16 connections. */
function load(port: number, { path, headers }: { path: string; headers: readonly string[] }): number {
  const url = `http://${prometheus?.loopback}:${port}${path}`
  const text = execFileSync('wrk', ['-t1', '-c16', '-d2s', ...headers, url], { encoding: 'utf8', env })
  if (/Non-2xx/.test(text)) throw new Error(`${url} refuses requests\n${text}`)
  return Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1])
}

try {
  await pause(500)
  const rows: string[][] = []
  for (const kind of kinds) {
    const [before, after]: number[][] = [[], []]
    for (let round = 0; round < rounds; round += 1) {
      before?.push(load(straight.port, kind))
      after?.push(load(9090, kind))
    }
    const ratio = median(after ?? []) / median(before ?? [])
    rows.push([kind.name, spread(before ?? [], 0), spread(after ?? [], 0), `${Math.round(ratio * 100)} %`])
  }
  report('gateway', [
    '## The gateway',
    '',
    'Requests a second at 127.0.0.3:9090, median (smallest–largest): by a forward straight to Prometheus, and as it is, by way of nginx, which looks at',
    '`Host` and `Origin`. Both forwards are socat; 16 connections.',
    '',
    ...markdown(['', 'straight', 'by way of nginx', 'of it'], rows),
  ])
} finally {
  forward.kill()
}
