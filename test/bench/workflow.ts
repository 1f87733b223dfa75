// Runs inside a sandbox: the whole workflow as `task setup` runs it, against its steps one after the other, both after a teardown with all images there;
// then a second setup with nothing to do.
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { graphOf, readTaskfile } from '../../lib/cli/taskfile.ts'
import { markdown, report } from './report.ts'
import { compare, median, rounds, spread, taskSeconds } from './timing.ts'

const steps = graphOf(await readTaskfile(), 'setup')
const cores = cpus().length

/** What setup cannot be faster than: its longest chain of steps, each as long as it takes by itself; and the work that there is, on all processors. */
const bounds = { chain: [] as number[], work: [] as number[] }
const idle: number[] = []

const whole = await compare(
  rounds,
  () => taskSeconds('teardown', '--yes'),
  () => {
    const before = busySeconds()
    const taken = taskSeconds('setup', '--yes')
    bounds.work.push(busySeconds() - before)
    idle.push(taskSeconds('setup', '--yes'))
    return taken
  },
  () => {
    const alone = new Map<string, number>()
    for (const { name, scripts } of steps)
      alone.set(
        name,
        scripts.reduce((sum, { script, words }) => sum + taskSeconds(script, ...words, '--yes'), 0),
      )
    bounds.chain.push(Math.max(...steps.map(({ name }) => chainTo(name, alone))))
    return [...alone.values()].reduce((sum, each) => sum + each, 0)
  },
)

/** Seconds from the beginning to the end of a step, where nothing is waited for but what it names. */
function chainTo(name: string, alone: ReadonlyMap<string, number>): number {
  const { after } = steps.find(step => step.name === name)!
  return Math.max(0, ...after.map(other => chainTo(other, alone))) + (alone.get(name) ?? 0)
}

/** Seconds that this machine's processors have worked since it started: the engine and the nodes are no children of ours. */
function busySeconds(): number {
  const [, ...ticks] = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.split(/\s+/)
  // `getconf CLK_TCK` is 100 on every Linux that Node runs on
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = ticks.map(Number)
  return (user + nice + system + irq + softirq) / 100
}

const ratio = median(whole.ours.map((taken, round) => taken / whole.theirs[round]!))
const bound = median(
  whole.ours.map((taken, round) => taken / Math.max(bounds.chain[round]!, bounds.work[round]! / cores)),
)
const judged = (value: number, goal: number) => `≤ ${goal}: ${value.toFixed(2)}${value <= goal ? '' : ' **missed**'}`

report('workflow', [
  '## The whole workflow',
  '',
  `Images present. The longest chain counts each step as long as it takes by itself; processor seconds are those of the whole machine during \`task setup\`.`,
  '',
  ...markdown(
    ['seconds, median (smallest–largest)', '`task setup`', 'bare', 'goal'],
    [
      ['against its steps one after the other', spread(whole.ours, 1), spread(whole.theirs, 1), judged(ratio, 0.75)],
      ['its longest chain of steps', '', spread(bounds.chain, 1), ''],
      [`processor seconds, for ${cores} processors`, '', spread(bounds.work, 1), ''],
      ['against the longer of chain and processor seconds / processors', '', '', judged(bound, 1.2)],
      ['again, nothing to do', spread(idle, 1), '', judged(median(idle), 3)],
    ],
  ),
])
