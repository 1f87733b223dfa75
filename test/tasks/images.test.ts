import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { machineArchitecture } from '../../lib/supply/image-archive.ts'
import { type StubbedTasks, stubbedTasks } from '../helpers/stub-docker.ts'

const config = JSON.stringify({ os: 'linux', architecture: machineArchitecture })
const id = `sha256:${createHash('sha256').update(config).digest('hex')}`

describe('the task images', () => {
  let tasks: StubbedTasks
  before(async () => {
    tasks = await stubbedTasks()
    await tasks.docker(`
      'image inspect --format {"id"'*) echo '{"id":"sha256:0123","digests":["a@sha256:4567"]}';;
      'image inspect --format {{.Id}} nginx'*) cat ${tasks.folder}/id;;
      'image inspect --format {{.Id}}'*) exit 1;;
      'image inspect'*) ;;
      tag*) ;;
      save*) echo saved >"$3";;
      load*) echo ${id} >${tasks.folder}/id;;`)
  })
  after(() => tasks.remove())

  it('saves one file for each image into a folder, with a list of what is where', async () => {
    const folder = join(tasks.folder, 'saved')
    const { status, stderr } = tasks.task('images', 'save', `${folder}/`)
    assert.equal(status, 0, stderr)
    assert.match(stderr, /^ {4}nginx:1\.30\.4-alpine {2}sha256:4567$/m)
    const { images } = JSON.parse(await readFile(join(folder, 'images.json'), 'utf8'))
    const [nginx] = images
    assert.deepEqual(nginx, {
      image: 'nginx:1.30.4-alpine',
      id: 'sha256:0123',
      digest: 'sha256:4567',
      file: 'nginx_1.30.4-alpine.tar',
    })
    const files = images.map(({ file }: { file: string }) => file)
    assert.deepEqual((await readdir(folder)).sort(), [...files, 'images.json'].sort())
  })

  it('saves what nodes and ingress are made of too, under a name with a tag, which is all that an archive can carry', async () => {
    const saved = (await tasks.calls()).filter(call => call.startsWith('save'))
    for (const name of ['kindest_node_v', 'registry.k8s.io_ingress-nginx_controller_v'])
      assert.equal(saved.filter(call => call.includes(name) && !call.includes('@')).length, 1, saved.join('\n'))
  })

  it('saves all into one file, with the list beside it', async () => {
    const file = join(tasks.folder, 'all.tar')
    assert.equal(tasks.task('images', 'save', file).status, 0)
    const { images } = JSON.parse(await readFile(`${file}.json`, 'utf8'))
    assert.deepEqual([...new Set(images.map(({ file }: { file: string }) => file))], ['all.tar'])
  })

  it('loads what is new, says so of each image, and does nothing the second time', async () => {
    const folder = join(tasks.folder, 'archive')
    await mkdir(folder)
    const manifest = [{ Config: 'config.json', RepoTags: ['docker.io/library/nginx:1.30.4-alpine'], Layers: [] }]
    await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest))
    await writeFile(join(folder, 'config.json'), config)
    const file = join(tasks.folder, 'nginx.tar.gz')
    spawnSync('tar', ['-czf', file, '-C', folder, '.'])
    await writeFile(join(tasks.folder, 'id'), 'sha256:another')
    const first = tasks.task('images', 'load', file)
    assert.equal(first.status, 0, first.stderr)
    assert.match(first.stderr, /^ {4}nginx:1\.30\.4-alpine {2}updated; verified by image id sha256:[0-9a-f]{12}$/m)
    assert.match(first.stderr, /1 of 1 image new/)
    const second = tasks.task('images', 'load', file)
    assert.match(second.stderr, /nginx:1\.30\.4-alpine {2}unchanged/)
    assert.equal((await tasks.calls()).filter(call => call.startsWith('load')).length, 1)
  })

  it('loads nothing where a file is no archive', async () => {
    const file = join(tasks.folder, 'words.tar')
    await writeFile(file, 'words')
    const { status, stderr } = tasks.task('images', 'load', file)
    assert.equal(status, 2)
    assert.match(stderr, /✗ Images cannot be read from these files\n {2}.*words\.tar: is no archive: tar: /)
  })
})

describe('images pull', () => {
  it('asks the mirror for nodes and ingress, too, where one is set', async () => {
    const tasks = await stubbedTasks({ IMAGE_MIRROR: 'mirror.test/hub', INGRESS_CONTROLLER: 'traefik' })
    try {
      // nothing is there until Compose was told what to pull
      await tasks.docker(`
        *' pull '*) cat >${tasks.folder}/pulled;;
        'image inspect --format'*) [ -e ${tasks.folder}/pulled ] || {
          shift 4; for image; do echo "Error: No such image: $image" >&2; done; exit 1; };;
        tag*) ;;`)
      const { status, stderr } = tasks.task('images', 'pull')
      assert.equal(status, 0, stderr)
      const { services } = JSON.parse(await readFile(join(tasks.folder, 'pulled'), 'utf8'))
      const pulled = Object.values(services as Record<string, { image: string }>).map(({ image }) => image)
      for (const name of ['kindest/node:', 'library/traefik:', 'library/nginx:'])
        assert.equal(pulled.filter(image => image.startsWith(`mirror.test/hub/${name}`)).length, 1, `${name} ${pulled}`)
      assert.deepEqual(
        pulled.filter(image => !image.startsWith('mirror.test/hub/')),
        [],
      )
    } finally {
      await tasks.remove()
    }
  })
})
