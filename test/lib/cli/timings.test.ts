import assert from 'node:assert/strict'
import { appendFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import {
  compareLast,
  drawRun,
  keepRun,
  medianOf,
  readTimings,
  type TimedRun,
  usualOf,
} from '../../../lib/cli/timings.ts'

const run = (seconds: number, { changed = true, state = 'done' as const } = {}): TimedRun => ({
  task: 'setup',
  at: '2026-01-01T00:00:00.000Z',
  steps: [
    { name: 'images', after: [], start: 0, end: 1, state: 'done', changed: false },
    { name: 'nodes', after: ['images'], start: 1, end: 1 + seconds, state, changed },
    { name: 'dns', after: ['images'], start: 1, end: 1.5, state: 'done', changed: true },
  ],
})

describe('timings', () => {
  let stateDir: string
  before(async () => {
    stateDir = await mkdtemp(join(tmpdir(), 'macula-timings-'))
  })
  after(() => rm(stateDir, { recursive: true }))

  it('leave nothing where a run has put nothing into the state folder', async () => {
    await keepRun({ stateDir }, run(1))
    await keepRun({ stateDir: join(stateDir, 'none') }, run(1))
    assert.deepEqual(await readdir(stateDir), [])
  })

  it('keep the last 50 runs, and pass over lines that are none', async () => {
    await writeFile(join(stateDir, 'installation.json'), '{}')
    for (let count = 1; count <= 52; count += 1) await keepRun({ stateDir }, run(count))
    await appendFile(join(stateDir, 'timings.jsonl'), 'half a li')
    const kept = await readTimings({ stateDir })
    assert.deepEqual([kept.length, kept[0], kept.at(-1)], [50, run(3), run(52)])
  })

  it('compare a step with runs in which it did the same, and with no fewer than three', () => {
    const runs = [run(20), run(22), run(30), run(1, { changed: false })]
    assert.equal(medianOf(runs, { name: 'nodes', changed: true }), 22)
    assert.equal(medianOf(runs, { name: 'nodes', changed: false }), undefined)
    assert.equal(medianOf([...runs, run(24)], { name: 'nodes', changed: true }), 23)
    assert.equal(usualOf(runs, 'nodes'), 22)
    assert.equal(usualOf(runs, 'nothing'), undefined)
  })

  it('mark the critical path, and what took more than a third longer', () => {
    const last = compareLast([run(20), run(20), run(20), run(27)])!
    const nodes = last.steps.find(({ name }) => name === 'nodes')!
    assert.deepEqual([nodes.median, nodes.grown, nodes.critical, nodes.seconds], [20, true, true, 27])
    assert.equal(
      compareLast([run(20), run(20), run(20), run(26)])!.steps.some(({ grown }) => grown),
      false,
    )
    assert.equal(compareLast([]), undefined)
    assert.equal(last.steps.find(({ name }) => name === 'dns')!.critical, false)
  })

  it('are drawn as bars along one axis', () => {
    const { seconds, steps } = compareLast([run(3), run(3), run(3), run(7)])!
    const [head, ...rows] = drawRun(seconds, steps).split('\n')
    assert.match(head ?? '', /^STEP {4}0 +8\.0 s {2}TOOK {3}USUALLY/)
    assert.match(rows[0] ?? '', /^images {2}█{6} {44}1\.0 s {2}1\.0 s$/)
    assert.match(rows[1] ?? '', /^nodes {9}█{42} {2}7\.0 s {2}3\.0 s {4}133 % longer$/)
    assert.match(rows[2] ?? '', /^dns {11}░{3} {41}0\.5 s {2}0\.5 s$/)
  })

  it('are not what a failed or interrupted step takes', () => {
    const broken = run(500)
    broken.steps[1]!.state = 'failed'
    assert.equal(medianOf([run(20), run(20), broken], { name: 'nodes', changed: true }), undefined)
  })
})
