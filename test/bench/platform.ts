// Runs inside a sandbox whose platform is up, and prints what our tasks cost against the bare commands they stand for.

import { readdirSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { loadPlatform } from '../../lib/platform/platform.ts'
import { pathsOf } from '../../lib/platform/settings.ts'
import { composeOptions } from '../../lib/stack/compose.ts'
import { root } from '../../lib/system/checkout.ts'
import { table } from '../../lib/system/text.ts'
import { compare, header, median, ratioRow, seconds, taskSeconds, timeRow } from './timing.ts'

const platform = await loadPlatform(pathsOf())
const rounds = 3
const compose = (...words: string[]) => seconds(['docker', 'compose', ...words], composeOptions(platform))

async function slowestProbe(): Promise<number> {
  const probes = platform.services.flatMap(({ hosts: [page], health }) =>
    page && health?.path ? [probeSeconds(`http://${page.name}${health.path}`)] : [],
  )
  return Math.max(...(await Promise.all(probes)))
}

function probeSeconds(url: string): Promise<number> {
  const started = performance.now()
  return new Promise((resolve, reject) => {
    get(url, response => response.resume().on('end', () => resolve((performance.now() - started) / 1000))).on(
      'error',
      reject,
    )
  })
}

const bringUp = await compare(
  rounds,
  () => compose('down', '--volumes'),
  () => taskSeconds('start-infrastructure'),
  () => compose('up', '--detach', '--wait'),
)
taskSeconds('platform', '--yes')
const again = await compare(
  7,
  () => undefined,
  () => taskSeconds('platform', '--yes'),
  () => compose('up', '--detach'),
)
const status = median(Array.from({ length: rounds }, () => taskSeconds('status')))
const probe = await slowestProbe()
const helps = readdirSync(join(root, 'tasks')).map(file => {
  const name = file.replace('.ts', '')
  return { name, taken: median(Array.from({ length: rounds }, () => taskSeconds(name, '--help'))) }
})
const slowest = helps.sort((one, other) => other.taken - one.taken)[0] ?? { name: '', taken: Number.NaN }

const rows = [
  ratioRow('bring-up, images present', bringUp, 1.2),
  ratioRow('second setup (platform)', again, 3),
  timeRow('status, against its slowest probe', status, 1, probe),
  timeRow(`slowest --help (${slowest.name})`, slowest.taken, 0.5),
]
process.stdout.write(`${table(header, rows)}\n`)
