import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { root } from '../../lib/system/checkout.ts'

describe('npm run check', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-layout-'))
    await cp(join(root, 'biome.json'), join(folder, 'biome.json'))
    await cp(join(root, 'lib'), join(folder, 'lib'), { recursive: true, filter: path => !path.includes('recipes') })
    await cp(join(root, 'tasks'), join(folder, 'tasks'), { recursive: true })
  })
  after(() => rm(folder, { recursive: true }))

  async function checkWith(files: Record<string, string>): Promise<{ status: number | null; output: string }> {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(folder, path)), { recursive: true })
      await writeFile(join(folder, path), text)
    }
    const biome = join(root, 'node_modules', '.bin', 'biome')
    const { status, stdout, stderr } = spawnSync(biome, ['lint', '--max-diagnostics=none', '.'], {
      cwd: folder,
      encoding: 'utf8',
    })
    for (const path of Object.keys(files)) await rm(join(folder, path))
    return { status, output: stdout + stderr }
  }

  it('accepts the imports as they are', async () => {
    const { status, output } = await checkWith({})
    assert.equal(status, 0, output)
  })

  it('fails on a circle of type imports between two files', async () => {
    const { status, output } = await checkWith({
      'lib/system/one.ts': "import type { Two } from './two.ts'\n\nexport type One = Two | 1\n",
      'lib/system/two.ts': "import type { One } from './one.ts'\n\nexport type Two = { one: One }\n",
    })
    assert.equal(status, 1)
    assert.match(output, /noImportCycles/)
  })

  const upward = {
    'a type from the command line': ['lib/system/planted.ts', '../cli/output.ts', 'Output'],
    'the folder just above': ['lib/routes/planted.ts', '../cluster/cluster.ts', 'Cluster'],
    'a folder from the folder within it': ['lib/dns/resolvers/planted.ts', '../setup.ts', 'DnsPlan'],
    'a task from another task': ['tasks/planted.ts', './doctor.ts', 'Doctor'],
  }
  for (const [what, [path = '', specifier, name]] of Object.entries(upward)) {
    it(`fails on an import upwards: ${what}`, async () => {
      const { status, output } = await checkWith({ [path]: `export type { ${name} } from '${specifier}'\n` })
      assert.equal(status, 1)
      assert.match(output, /noRestrictedImports/)
    })
  }

  it('knows every folder of lib, so that none is left out', async () => {
    const folders = (await readdir(join(root, 'lib'))).sort()
    const known = 'cli cluster dns doctor journal platform routes sandbox stack supply system teardown verify'.split(
      ' ',
    )
    assert.deepEqual(folders, known)
  })
})
