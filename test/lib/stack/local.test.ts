import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { localFiles } from '../../../lib/stack/config/local.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'
import { contentOf, renderExample } from '../../helpers/example.ts'

describe("the user's own rules, dashboards and pipelines", () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-own-'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  const write = async (files: Readonly<Record<string, string>>) => {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, path)), { recursive: true })
      await writeFile(join(folder, path), text)
    }
  }
  const refused = async (...lines: RegExp[]) =>
    assert.rejects(localFiles(folder, []), (error: PlatformError) => {
      const why = error.why?.split('\n') ?? []
      for (const line of lines)
        assert.ok(
          why.some(said => line.test(said)),
          `${line} in ${error.why}`,
        )
      assert.equal(why.length, lines.length)
      assert.equal(error.exitCode, 2)
      return true
    })

  it('need not exist', async () => {
    const files = await localFiles(join(folder, 'nothing'), [])
    assert.deepEqual(
      files.map(({ path }) => path),
      ['config/collector/local.yml'],
    )
  })

  it('are given to Prometheus, Grafana and the collector beside those of the platform', async () => {
    await write({
      'rules/mine.yml': 'groups: []\n',
      'dashboards/mine.json': '{"title":"Mine","uid":"mine"}',
      'collector.yml': 'exporters: {}\n',
      '.git/config': 'hidden',
    })
    const files = await renderExample({ observability: folder })
    assert.equal(contentOf(files, 'config/prometheus/rules/local-mine.yml'), 'groups: []\n')
    assert.equal(contentOf(files, 'config/grafana/dashboards/local-mine.json'), '{"title":"Mine","uid":"mine"}')
    assert.equal(contentOf(files, 'config/collector/local.yml'), 'exporters: {}\n')
    assert.ok(files.some(({ path }) => path === 'config/prometheus/rules/macula.yml'))
  })

  it('are refused with everything that is wrong with them, before anything is written', async () => {
    await write({
      'dashboards/cut.json': '{"title": "Cut",',
      'dashboards/nameless.json': '{"uid":"nameless"}',
      'dashboards/one.json': '{"title":"One","uid":"same"}',
      'dashboards/two.json': '{"title":"Two","uid":"same"}',
      'dashboards/picture.png': '',
      'rule/mine.yml': 'groups: []\n',
    })
    await refused(
      /dashboards\/cut\.json: .*JSON/,
      /dashboards\/nameless\.json: has no title/,
      /dashboards\/two\.json: has the uid same of another dashboard/,
      /dashboards\/picture\.png: its name does not end in \.json/,
      /rule: is none of rules, dashboards, collector\.yml/,
    )
  })

  it('may not take the place of a dashboard of the platform', async () => {
    await write({ 'dashboards/mine.json': '{"title":"Mine","uid":"macula-overview"}' })
    await assert.rejects(renderExample({ observability: folder }), /observability|cannot be used/)
  })
})
