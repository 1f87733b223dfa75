import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { pathsOf } from '../../../lib/platform/settings.ts'
import { ensureBuilt } from '../../../lib/supply/cache.ts'
import { buildGoFolder } from '../../../lib/supply/go.ts'
import { root } from '../../../lib/system/checkout.ts'
import { $ } from '../../../lib/system/exec.ts'
import { contentsOf } from '../../../lib/system/files.ts'
import { renderExample } from '../../helpers/example.ts'

const source = join(root, 'test/helpers/dashboard-decoder')

describe("Grafana's own types", { timeout: 900_000 }, () => {
  let program: string
  let folder: string
  before(async () => {
    const options = { cacheDir: pathsOf().cacheDir }
    const built = await ensureBuilt(
      {
        name: 'dashboard-decoder',
        inputs: await contentsOf(source),
        build: (to, note) => buildGoFolder(source, 'dashboard-decoder', to, { ...options, note, quick: true }),
      },
      options,
    )
    program = join(built, 'dashboard-decoder')
    folder = await mkdtemp(join(tmpdir(), 'macula-dashboards-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  const dashboards = async () =>
    (await renderExample()).filter(({ path }) => /^config\/grafana\/dashboards\/.*\.json$/.test(path))
  /** What is wrong with a dashboard. */
  const decoded = async (content: string) => {
    const file = join(folder, 'dashboard.json')
    await writeFile(file, content)
    return (await $`${program} ${file}`.text()).trim()
  }

  it('take every dashboard', async () => {
    const all = await dashboards()
    assert.ok(all.length >= 2)
    for (const { path, content } of all) assert.equal(await decoded(content), '', path)
  })

  it('notice a typo, a wrong type, and a setting that a panel does not have', async () => {
    const [first] = await dashboards()
    const changed = (change: (dashboard: { panels: Record<string, unknown>[]; [key: string]: unknown }) => void) => {
      const dashboard = JSON.parse(first?.content ?? '')
      change(dashboard)
      return decoded(JSON.stringify(dashboard))
    }
    assert.match(await changed(dashboard => Object.assign(dashboard, { tittle: 'x' })), /tittle/)
    assert.match(await changed(dashboard => Object.assign(dashboard, { editable: 'yes' })), /editable/)
    assert.match(await changed(({ panels: [panel] }) => Object.assign(panel ?? {}, { datasurce: {} })), /datasurce/)
  })
})
