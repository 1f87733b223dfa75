import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { dashboards, fileOf } from '../../dashboards/all.ts'
import { root } from '../../lib/system/checkout.ts'
import { contentOf, renderExample } from '../helpers/example.ts'
import { queriesOfPanels } from '../helpers/queries.ts'

interface Panel {
  id: number
  type: string
  title: string
  description?: string
  datasource?: { uid: string }
  targets?: { refId: string; datasource: { uid: string } }[]
  gridPos: { x: number; y: number; w: number; h: number }
}

const files = await renderExample()
const rendered = files.filter(({ path }) => /^config\/grafana\/dashboards\/.*\.json$/.test(path))
const { datasources } = parse(contentOf(files, 'config/grafana/datasources/macula.yml')) as {
  datasources: { uid: string; name: string }[]
}
const cellsOf = ({ gridPos: { x, y, w, h } }: Panel) =>
  Array.from({ length: w * h }, (_, index) => `${x + (index % w)},${y + Math.floor(index / w)}`)

test('Grafana is given the dashboards as dashboards/ makes them, and no others: npm run dashboards', () => {
  const made = dashboards.map(fileOf)
  assert.deepEqual(
    rendered.map(({ path }) => path.split('/').at(-1)),
    made.map(({ name }) => name).sort(),
  )
  for (const { name, content } of made)
    assert.equal(contentOf(files, `config/grafana/dashboards/${name}`), content, name)
})

test('each dashboard answers one question, and is found from every other', () => {
  assert.equal(new Set(dashboards.map(({ title }) => title)).size, dashboards.length)
  for (const { title, description, tags, links } of dashboards) {
    assert.match(description, /^[^?]+\?$/, title)
    for (const { type, tags: wanted } of links) {
      assert.equal(type, 'dashboards')
      assert.ok(wanted.every(tag => tags.includes(tag)))
    }
    assert.ok(links.length > 0)
  }
})

test('addresses within a dashboard are those of another, with a variable that it has', () => {
  const addresses = [...JSON.stringify(dashboards).matchAll(/"url":"\/d\/([\w-]+)(?:\?var-(\w+)=)?/g)]
  assert.ok(addresses.length > 0)
  for (const [, uid, variable] of addresses) {
    const target = dashboards.find(dashboard => dashboard.uid === uid)
    assert.ok(target, uid)
    if (variable)
      assert.ok(
        target.templating.list.some(({ name }) => name === variable),
        variable,
      )
  }
})

for (const { title, panels: all, templating } of dashboards) {
  const panels = all as Panel[]

  test(`the panels of ${title} have a description each, and ask only data sources that are there`, () => {
    const known = datasources.map(({ uid }) => uid)
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
    for (const { type, title, description = '', datasource, targets = [] } of panels) {
      if (type === 'row') continue
      assert.match(description, /\.$/, title)
      assert.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, title)
      for (const source of [datasource, ...targets.map(target => target.datasource)])
        if (source) assert.ok(known.includes(source.uid), `${title}: ${source.uid}`)
      assert.ok(type === 'alertlist' || targets.length > 0, title)
    }
  })

  test(`the panels of ${title} fill its width and do not lie on each other`, () => {
    const cells = panels.flatMap(cellsOf)
    assert.equal(new Set(cells).size, cells.length)
    for (const {
      gridPos: { x, w },
    } of panels)
      assert.ok(x + w <= 24)
    const widths = new Map<number, number>()
    for (const {
      gridPos: { y, w },
    } of panels)
      widths.set(y, (widths.get(y) ?? 0) + w)
    assert.deepEqual([...new Set(widths.values())], [24])
  })

  test(`the queries of ${title} use each of its variables, and no other`, () => {
    const text = JSON.stringify(panels.map(({ targets }) => targets))
    const used = new Set([...text.matchAll(/\$([a-z]\w*)/g)].map(([, name]) => name))
    assert.deepEqual([...used].sort(), templating.list.map(({ name }) => name).sort())
  })
}

test('docs/dashboards.md has every panel with its query as it is; the head of its table says what writes it', async () => {
  const text = await readFile(join(root, 'docs/dashboards.md'), 'utf8')
  const plain = text.replaceAll('\\|', '|')
  for (const { dashboard, panel, written } of queriesOfPanels(files)) {
    const [, section = ''] = plain.split(`\n### ${dashboard}\n`)
    const rows = section.split('\n#')[0]?.split('\n') ?? []
    assert.ok(
      rows.some(row => row.startsWith(`| ${panel} | `) && row.includes(written)),
      `${dashboard}: ${panel}: ${written}`,
    )
  }
})

test('requests are shown as dots only where they can be: on the buckets of a histogram', () => {
  const dotted = queriesOfPanels(files).filter(({ exemplar }) => exemplar)
  assert.ok(dotted.length > 0)
  for (const { text, where } of dotted) assert.match(text, /_bucket\b/, where)
})

test('alerts are asked for by the name of a data source, which is all that their panel knows', () => {
  const lists = dashboards.flatMap(({ panels }) => panels as { type: string; options?: { datasource?: string } }[])
  const names = lists.filter(({ type }) => type === 'alertlist').map(({ options }) => options?.datasource)
  assert.deepEqual(names, ['Prometheus'])
  assert.ok(datasources.some(({ name }) => name === names[0]))
})
