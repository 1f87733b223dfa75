// What it costs to start: each task's --help, against Node that does nothing.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../lib/system/checkout.ts'
import { markdown, report } from './report.ts'
import { median, rounds, seconds, spread, taskSeconds } from './timing.ts'

const goal = 0.15
const names = readdirSync(join(root, 'tasks')).map(file => file.replace('.ts', ''))
taskSeconds('status', '--help')
const taken = new Map(names.map(name => [name, [] as number[]]))
const bare: number[] = []
for (let round = 0; round < rounds; round += 1)
  for (const [name, times] of taken) {
    bare.push(seconds(['node', '--eval', '0']))
    times.push(taskSeconds(name, '--help'))
  }
const all = [...taken.values()].flat()
const [slowest, times] = [...taken].sort(([, one], [, other]) => median(other) - median(one))[0]!

report('help', [
  '## Start',
  '',
  ...markdown(
    ['seconds, median (smallest–largest)', '`--help`', '`node --eval 0`', 'goal on Node 20'],
    [
      ['all tasks', spread(all), spread(bare), `≤ ${goal}${median(all) <= goal ? '' : ' **missed**'}`],
      [`the slowest (${slowest})`, spread(times), '', `≤ ${goal}${median(times) <= goal ? '' : ' **missed**'}`],
    ],
  ),
])
