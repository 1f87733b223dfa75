// Runs inside a sandbox: the whole workflow as `task setup` runs it, against its scripts one after the other, both after a teardown with all images there;
// then a second setup with nothing to do.
import { readTaskfile, stepsOf } from '../../lib/cli/taskfile.ts'
import { markdown, report } from './report.ts'
import { compare, median, rounds, spread, taskSeconds } from './timing.ts'

const steps = stepsOf(await readTaskfile(), 'setup').map(({ script }) => script)
const idle: number[] = []
const whole = await compare(
  rounds,
  () => taskSeconds('teardown', '--yes'),
  () => {
    const taken = taskSeconds('setup', '--yes')
    idle.push(taskSeconds('setup', '--yes'))
    return taken
  },
  () => steps.reduce((sum, script) => sum + taskSeconds(script, '--yes'), 0),
)
const ratio = median(whole.ours.map((taken, round) => taken / whole.theirs[round]!))

report('workflow', [
  '## The whole workflow',
  '',
  ...markdown(
    ['seconds, median (smallest–largest)', '`task setup`', 'its scripts one after the other', 'goal'],
    [
      ['images present', spread(whole.ours, 1), spread(whole.theirs, 1), `≤ 0.75 of it: ${ratio.toFixed(2)}`],
      ['again, nothing to do', spread(idle, 1), '', '≤ 3'],
    ],
  ),
])
