import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { root } from '../../../lib/system/checkout.ts'
import { NotYet, waitFor } from '../../../lib/system/wait.ts'
import { speakingTo } from '../../helpers/cluster.ts'
import { renderExample } from '../../helpers/example.ts'
import {
  type Answer,
  answersOf,
  othersOf,
  type PanelAnswer,
  type Question,
  report,
  unexpectedlyEmpty,
} from '../../helpers/panel-answers.ts'
import { panelsWithoutQuery, queriesOfPanels } from '../../helpers/queries.ts'
import { noSandbox, startSandbox, type TestSandbox } from '../../helpers/sandbox.ts'

const file = join(root, 'docs/dashboards.md')
/** Below this everything is written anew. */
const written = 'all were chosen.\n'

describe('the dashboards of a platform with cluster and applications', { skip: await noSandbox() }, () => {
  let sandbox: TestSandbox
  const { text } = speakingTo(() => sandbox)
  let ready = 0
  before(async () => {
    sandbox = await startSandbox({ cluster: true })
    ready = Date.now()
  })
  after(() => sandbox?.end())

  const ask = async (questions: Question[]) => {
    const input = JSON.stringify(questions)
    const { stdout, stderr } = await sandbox.exec('node test/helpers/ask-prometheus.mjs', { input })
    assert.notEqual(stdout, '', stderr)
    return JSON.parse(stdout) as Answer[]
  }

  it('have each something to show five seconds after the setup, before anybody has used anything', async context => {
    const queries = queriesOfPanels(await renderExample())
    await pause(ready + 5000 - Date.now())
    const answers = (await answersOf(queries, ask, Date.now() / 1000)).filter(({ empty }) => empty === undefined)
    const filled = answers.filter(({ series }) => series > 0)
    context.diagnostic(`${filled.length} of ${answers.length} queries return something`)
    const dashboards = (of: readonly PanelAnswer[]) => [...new Set(of.map(({ dashboard }) => dashboard))]
    assert.deepEqual(dashboards(filled), dashboards(answers))
  })

  it('have something to show in every panel whose source runs here', async context => {
    const files = await renderExample()
    const queries = queriesOfPanels(files)
    let answers: PanelAnswer[] = []
    await waitFor(
      async () => {
        // every service is used, and each application is asked for a page that works and one that does not
        await text(`node lib/cli/launch.mjs verify >/dev/null || true
          for page in call/peer1/peer2 fail; do curl -s -o /dev/null http://console.macula.local/$page; done`)
        answers = await answersOf(queries, ask, Date.now() / 1000)
        const missing = unexpectedlyEmpty(answers).map(({ where, text, error = '' }) => `${where}: ${text} ${error}`)
        return missing.length === 0 ? true : new NotYet(missing.join('\n'))
      },
      {
        timeoutMs: 240_000,
        pauseMs: 10_000,
        onTimeout: last => {
          throw new Error(`Empty:\n${last}`)
        },
      },
    ).finally(async () => {
      if (process.env.MACULA_DASHBOARDS !== '1') return
      const head = await readFile(file, 'utf8')
      const others = await othersOf(panelsWithoutQuery(files), ask)
      await writeFile(file, report(head.slice(0, head.indexOf(written) + written.length), answers, others))
    })
    const exemplars = answers.filter(({ exemplar, empty }) => exemplar && empty === undefined)
    for (const { where, exemplars: dots } of exemplars) assert.ok(dots > 0, `${where} has no exemplar`)
    context.diagnostic(
      `${answers.filter(({ series }) => series > 0).length} of ${answers.length} queries returned something`,
    )
  })
})
