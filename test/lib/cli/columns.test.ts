import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { createBoard } from '../../../lib/cli/board.ts'
import { createOutput, reminderMs } from '../../../lib/cli/output.ts'
import { imageCatalogue, programRecipes } from '../../../lib/sandbox/recipes.ts'
import { supplyReport } from '../../../lib/sandbox/report.ts'
import type { StepProgress } from '../../../lib/system/progress.ts'
import { table, usualColumns, wrapped } from '../../../lib/system/text.ts'
import { goodPlatform } from '../../helpers/platform.ts'

/** Everything that a sandbox makes from nothing, and the longest that is said of each. */
const programs = Object.entries(await programRecipes())
const repositories = Object.keys((await imageCatalogue()).images)
const services = (await goodPlatform()).services.map(({ name }) => name)

/** A stream that keeps what is written to it; with columns, a terminal. */
function screen(columns?: number) {
  let text = ''
  const stream = new Writable({
    write(chunk, _, done) {
      text += chunk
      done()
    },
  })
  // what is written then stands at another place
  const still = () => stream.write('\r')
  const terminal = columns === undefined ? {} : { isTTY: true, columns, rows: 30 }
  const moves = { clearLine: still, cursorTo: still, moveCursor: still }
  const written = Object.assign(stream, terminal, moves)
  return { stream: written, lines: () => stripVTControlCharacters(text).split(/[\r\n]+/) }
}

function tooLong(lines: readonly string[]): string[] {
  return lines.filter(line => [...line].length > usualColumns)
}

/** All that a start from nothing reports, to a step that watches. */
async function reportAll(progress: StepProgress, pause: () => void): Promise<void> {
  const { report, during } = supplyReport()
  await during(progress, async () => {
    for (const [what, { seconds }] of programs) report({ what, state: 'queued', detail: 'queued', work: seconds })
    for (const [what, recipe] of programs) {
      const packages = 'programs' in recipe ? Object.keys(recipe.programs).join(', ') : what
      report({ what, state: 'building', detail: `compiling ${packages} and 1200 packages that they are made of` })
      pause()
    }
    for (const repository of repositories)
      report({ what: `image ${repository}`, state: 'building', detail: 'building' })
    pause()
    for (const repository of repositories)
      report({ what: `image ${repository}`, state: 'ready', detail: 'stand-in', seconds: 1234.5 })
  })
}

const withoutColours = { interactive: false, color: false }

describe('a line of progress fits 100 columns', () => {
  const withTimers = (t: TestContext) => t.mock.timers.enable({ apis: ['setInterval'] })

  it('where it is said once in a while, and where it stays', async t => {
    withTimers(t)
    const { stream, lines } = screen(usualColumns)
    const out = createOutput({ stdout: stream, stderr: stream, spinner: false, ...withoutColours })
    await out.step(`Get the image of ${services[0]}`, async progress => {
      await reportAll(progress, () => t.mock.timers.tick(reminderMs))
      progress.line(
        `kindest/node:v1.35.8: from images-of-a-cluster.tar, verified by image id ${'sha256:0123456789ab, as the file lacks '.repeat(2)}`,
      )
      return `12 stand-ins, later: ${services.join(', ')}`
    })
    out.warn(
      'No registry answers, so stand-ins for the images are built here; compiling takes up to 16 GB of disk, about 6 GB stay',
    )
    assert.ok(lines().length > programs.length + repositories.length)
    assert.deepEqual(tooLong(lines()), [])
  })

  it('in a file only where it is progress; what stays there is one line, to be searched and copied', async t => {
    withTimers(t)
    const { stream, lines } = screen()
    const out = createOutput({ stdout: stream, stderr: stream, spinner: false, ...withoutColours })
    const warning =
      `The cluster is left out. Remove what is left of it: task delete-cluster -- ${'--yes '.repeat(20)}`.trim()
    await out.step('Get the images', async progress => {
      await reportAll({ ...progress, line: () => {} }, () => t.mock.timers.tick(reminderMs))
      return 'created'
    })
    assert.ok(lines().length > programs.length)
    assert.deepEqual(tooLong(lines()), [])
    out.warn(warning)
    assert.ok(lines().includes(`! ${warning}`))
  })

  it('where a table at a terminal rewrites itself', async () => {
    const { stream, lines } = screen(usualColumns)
    const out = createOutput({ stdout: stream, stderr: stream, spinner: true, ...withoutColours })
    await out.step(`Get the images of ${services.join(' and ')}`, async progress => {
      // draws at each change of its text, without waiting for its next frame
      await reportAll(progress, () => {})
      return 'created'
    })
    assert.ok(
      lines().some(line => line.includes('kubernetes')),
      lines().join('\n'),
    )
    assert.deepEqual(tooLong(lines()), [])
  })

  it('where steps run together', async t => {
    withTimers(t)
    let now = 0
    t.mock.method(performance, 'now', () => now)
    const { stream, lines } = screen()
    const board = createBoard({ stdout: stream, stderr: stream, spinner: false, ...withoutColours })
    const step = board.begin('start-infrastructure')
    await step.out.step('Pull images', async progress => {
      progress.update(repositories.map(image => `${image} 120.0 MB of 240.0 MB`).join(', '))
      now += reminderMs
      t.mock.timers.tick(reminderMs)
      return 'unchanged'
    })
    step.end()
    board.close()
    assert.ok(
      lines().some(line => line.includes('120.0 MB')),
      lines().join('\n'),
    )
    assert.deepEqual(tooLong(lines()), [])
  })
})

describe('text that is too wide', () => {
  it('is broken between words, and what continues a line is indented', () => {
    assert.equal(wrapped('  one two three\nfour', 10, '    '), '  one two\n    three\nfour')
    assert.equal(wrapped('averylongwordalone and', 10, '  '), 'averylongwordalone\n  and')
  })

  it('is broken in the last column of a table', () => {
    const text = table(['CHECK', 'FOUND'], [['DNS', 'create a, create b, start c']], 20)
    assert.equal(text, 'CHECK  FOUND\nDNS    create a,\n       create b,\n       start c')
  })
})
