import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'
import { parse } from 'yaml'
import {
  type ImageCatalogue,
  imageCatalogue,
  programRecipe,
  recipesFolder,
  repositoryOf,
} from '../../../lib/sandbox/recipes.ts'
import { archiveIn } from '../../../lib/supply/debian.ts'
import { goModFor } from '../../../lib/supply/go.ts'
import { queue } from '../../../lib/supply/queue.ts'
import { root } from '../../../lib/system/checkout.ts'
import { contentsOf } from '../../../lib/system/files.ts'

describe('the catalogue of stand-ins', () => {
  let catalogue: ImageCatalogue
  before(async () => {
    catalogue = await imageCatalogue()
  })
  const dockerfileOf = (folder: string) => readFile(join(recipesFolder, folder, 'Dockerfile'), 'utf8')

  it('has one for the image of every service in the compose file', async () => {
    const compose = parse(await readFile(join(root, 'templates/docker-compose.yml'), 'utf8'), { merge: true }) as {
      services: Record<string, { image: string }>
    }
    const images = Object.values(compose.services).map(({ image }) => repositoryOf(image))
    assert.ok(images.length >= 11)
    assert.deepEqual(
      images.filter(image => !catalogue.images[image]),
      [],
    )
  })

  it('marks every image as real or placeholder, and only those without a daemon as placeholder', async () => {
    const placeholders: string[] = []
    for (const [repository, { folder, base }] of Object.entries(catalogue.images)) {
      const text = await dockerfileOf(folder)
      const mark = /macula\.standin=(\w+)/.exec(text)?.[1] ?? (base && 'of its base')
      assert.ok(mark, `${folder}/Dockerfile has no label macula.standin`)
      if (mark === 'placeholder') placeholders.push(repository)
    }
    assert.deepEqual(placeholders.sort(), [
      'grafana/grafana',
      'grafana/loki',
      'grafana/tempo',
      'joxit/docker-registry-ui',
      'powerdnsadmin/pda-legacy',
    ])
  })

  it('copies nothing but what its entry, its folder and its programs bring', async () => {
    for (const { folder, programs, emptyFolders, archive } of Object.values(catalogue.images)) {
      const recipes = await Promise.all(programs.map(async name => [name, await programRecipe(name)] as const))
      const built = recipes.flatMap(([name, recipe]) => ('programs' in recipe ? Object.keys(recipe.programs) : [name]))
      const files = (await contentsOf(join(recipesFolder, folder))).map(([file]) => file.split('/')[0])
      const there = new Set([...built, ...files, ...emptyFolders, archive?.file])
      for (const [, sources = ''] of (await dockerfileOf(folder)).matchAll(/^COPY (?!.*--from)(.*)$/gm)) {
        for (const source of sources
          .split(/\s+/)
          .filter(word => !word.startsWith('--'))
          .slice(0, -1))
          assert.ok(there.has(source.replace(/\/$/, '')), `${folder}/Dockerfile copies ${source}`)
      }
    }
  })

  it('knows every base and every image that another one is made of', () => {
    for (const { base, archive } of Object.values(catalogue.images)) {
      if (base) assert.ok(catalogue.bases[base] ?? catalogue.images[base], base)
      for (const image of archive?.images ?? []) assert.ok(catalogue.images[repositoryOf(image)], image)
    }
  })

  it('puts the Kubernetes into the node image that is compiled', async () => {
    const recipe = await programRecipe('kubernetes')
    assert.ok('version' in recipe)
    const images = catalogue.images['kindest/node']?.archive?.images ?? []
    const versions = images.filter(image => image.includes('/kube-')).map(image => image.split(':')[1])
    assert.deepEqual([...new Set(versions)], [recipe.version])
  })
})

describe('a name of an image', () => {
  it('names its repository, whatever tag, digest or long form it has', () => {
    const cases = {
      nginx: 'nginx',
      'nginx:1.30.4-alpine': 'nginx',
      'docker.io/library/nginx:1': 'nginx',
      'docker.io/grafana/loki:3.7.6': 'grafana/loki',
      'kindest/node:v1.37.0@sha256:abc': 'kindest/node',
      'localhost:5001/macula/console': 'localhost:5001/macula/console',
      'localhost:5001/macula/console:dev': 'localhost:5001/macula/console',
    }
    for (const [image, repository] of Object.entries(cases)) assert.equal(repositoryOf(image), repository)
  })
})

describe("a module for building somebody else's program", () => {
  const recipe = { module: 'example.com/tool', version: 'v1.2.3', programs: { tool: 'example.com/tool' } }

  it('repeats versions the program replaces and excludes, and leaves out its own folders', () => {
    const upstream = {
      Go: '1.25.1',
      Replace: [
        { Old: { Path: 'a.example/x' }, New: { Path: 'b.example/x', Version: 'v0.1.0' } },
        { Old: { Path: 'a.example/y', Version: 'v1.0.0' }, New: { Path: 'b.example/y', Version: 'v2.0.0' } },
        { Old: { Path: 'example.com/part' }, New: { Path: './part' } },
      ],
      Exclude: [{ Path: 'c.example/z', Version: 'v3.0.0' }],
    }
    assert.equal(
      goModFor(recipe, upstream),
      `module macula.local/standin

go 1.25.1

require example.com/tool v1.2.3
replace a.example/x => b.example/x v0.1.0
replace a.example/y v1.0.0 => b.example/y v2.0.0
exclude c.example/z v3.0.0
`,
    )
  })

  it('takes the published versions of folders where the recipe names one', () => {
    const upstream = { Replace: [{ Old: { Path: 'example.com/part' }, New: { Path: './part' } }] }
    assert.match(
      goModFor({ ...recipe, foldersAre: 'v0.2.3' }, upstream),
      /^replace example\.com\/part => example\.com\/part v0\.2\.3$/m,
    )
  })
})

describe("this machine's Debian archive", () => {
  it('is the one called debian, not its security archive or a third party', () => {
    const lines = [
      'https://packages.example.com/apt main',
      'http://mirror.example.com/debian-security/ main',
      'http://mirror.example.com/debian/ contrib',
      'http://mirror.example.com/debian/ main',
    ]
    assert.equal(archiveIn(lines.join('\n')), 'http://mirror.example.com/debian/')
    assert.equal(archiveIn('http://archive.example.com/ubuntu/ main\n'), undefined)
  })
})

describe('a queue for slow builds', () => {
  it('starts them in the order in which they came, as many at a time as it is told', async () => {
    const inOrder = queue(2)
    const started: number[] = []
    const ends: (() => void)[] = []
    const all = [0, 1, 2, 3].map(number =>
      inOrder(async () => {
        started.push(number)
        await new Promise<void>(resume => ends.push(resume))
        return number
      }),
    )
    await settle()
    assert.deepEqual(started, [0, 1])
    ends.shift()?.()
    await settle()
    assert.deepEqual(started, [0, 1, 2])
    ends.shift()?.()
    ends.shift()?.()
    await settle()
    ends.shift()?.()
    assert.deepEqual(await Promise.all(all), [0, 1, 2, 3])
  })

  it('takes the one with the lowest place next, however long others have waited', async () => {
    const byPlace = queue(1)
    const started: number[] = []
    const all = [0, 2, 1, 2, 0].map(place => byPlace(async () => void started.push(place), place))
    await Promise.all(all)
    assert.deepEqual(started, [0, 0, 1, 2, 2])
  })

  it('goes on after one that failed', async () => {
    const inOrder = queue(1)
    const failed = inOrder(async () => {
      throw new Error('does not compile')
    })
    const next = inOrder(async () => 'compiled')
    await assert.rejects(failed, /does not compile/)
    assert.equal(await next, 'compiled')
  })
})

/** Lets everything that is ready to run, run. */
const settle = () => new Promise(resume => setImmediate(resume))
