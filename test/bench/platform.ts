// Runs inside a sandbox whose platform is up, and prints what our tasks cost against the bare commands they stand for.

import { get } from 'node:http'
import { loadPlatform } from '../../lib/platform/platform.ts'
import { pathsOf } from '../../lib/platform/settings.ts'
import { composeOptions } from '../../lib/stack/compose.ts'
import { markdown, report } from './report.ts'
import { compare, header, ratioRow, rounds, seconds, taskSeconds, timeRow } from './timing.ts'

const platform = await loadPlatform(pathsOf(), process.env)
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
  rounds,
  () => undefined,
  () => taskSeconds('platform', '--yes'),
  () => compose('up', '--detach'),
)
const status = Array.from({ length: rounds }, () => taskSeconds('status'))
const probes: number[] = []
for (let round = 0; round < rounds; round += 1) probes.push(await slowestProbe())

report('platform', [
  '## The platform',
  '',
  ...markdown(header, [
    ratioRow('bring-up, images present, against `compose up`', bringUp, 1.15),
    ratioRow('second setup (platform), against `compose up` with nothing to do', again, 2),
    timeRow('status, against its slowest probe', status, 0.3, probes),
  ]),
])
