// Runs inside a sandbox whose platform is up, and prints what our tasks cost against the bare commands they stand for.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { composeOptions } from '../../lib/compose.ts'
import { placesOf, root } from '../../lib/env.ts'
import { table } from '../../lib/output.ts'
import { loadPlatform } from '../../lib/platform.ts'

const platform = await loadPlatform(placesOf())
const bare = composeOptions(platform)
const rounds = 3

/** Seconds that a command takes; it has to succeed. */
function seconds(
  command: string,
  words: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): number {
  const started = performance.now()
  const { status, stderr } = spawnSync(command, words, {
    encoding: 'utf8',
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
  })
  if (status !== 0) throw new Error(`${command} ${words.join(' ')} ended with ${status}\n${stderr}`)
  return (performance.now() - started) / 1000
}

const compose = (...words: string[]) => seconds('docker', ['compose', ...words], bare)
const task = (...words: string[]) => seconds('node', ['lib/launch.mjs', ...words])
const median = (values: readonly number[]) =>
  [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN
const shownSeconds = (value: number) => `${value.toFixed(2)} s`

/** Turn by turn, so that whatever else the machine does meets both alike. */
function compare(before: () => unknown, ours: () => number, theirs: () => number): { ours: number; theirs: number } {
  const taken = { ours: [] as number[], theirs: [] as number[] }
  for (let round = 0; round < rounds; round += 1) {
    before()
    taken.theirs.push(theirs())
    before()
    taken.ours.push(ours())
  }
  return { ours: median(taken.ours), theirs: median(taken.theirs) }
}

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

const bringUp = compare(
  () => compose('down', '--volumes'),
  () => task('start-infrastructure'),
  () => compose('up', '--detach', '--wait'),
)
task('platform', '--yes')
const again = compare(
  () => undefined,
  () => task('platform', '--yes'),
  () => compose('up', '--detach'),
)
const status = median(Array.from({ length: rounds }, () => task('status')))
const probe = median(await Promise.all(Array.from({ length: rounds }, slowestProbe)))
const helps = readdirSync(join(root, 'tasks')).map(file => {
  const name = file.replace('.ts', '')
  return { name, taken: median(Array.from({ length: rounds }, () => task(name, '--help'))) }
})
const slowestHelp = helps.sort((one, other) => other.taken - one.taken)[0] ?? { name: '', taken: Number.NaN }

process.stdout.write(
  `${table(
    ['WHAT', 'OURS', 'BARE', 'RATIO', 'GOAL'],
    [
      [
        'bring-up, images present',
        shownSeconds(bringUp.ours),
        shownSeconds(bringUp.theirs),
        (bringUp.ours / bringUp.theirs).toFixed(2),
        '<= 1.2',
      ],
      [
        'second setup (platform)',
        shownSeconds(again.ours),
        shownSeconds(again.theirs),
        (again.ours / again.theirs).toFixed(2),
        '<= 3',
      ],
      [
        'status, against its slowest probe',
        shownSeconds(status),
        shownSeconds(probe),
        `+${shownSeconds(status - probe)}`,
        '<= +1 s',
      ],
      [`slowest --help (${slowestHelp.name})`, shownSeconds(slowestHelp.taken), '', '', '<= 0.5 s'],
    ],
  )}\n`,
)
