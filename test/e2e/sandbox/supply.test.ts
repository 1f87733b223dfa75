import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { pathsOf } from '../../../lib/platform/settings.ts'
import { machineArchitecture } from '../../../lib/supply/image-archive.ts'
import { root } from '../../../lib/system/checkout.ts'
import { $ } from '../../../lib/system/exec.ts'
import { noSandbox } from '../../helpers/sandbox.ts'

const { cacheDir } = pathsOf()
const other = machineArchitecture === 'arm64' ? 'amd64' : 'arm64'

describe('a sandbox whose cache lacks a program and packages, on a machine that reaches no Go module', {
  skip: await noSandbox(),
}, () => {
  let home: string
  let archive: string

  before(async () => {
    home = await mkdtemp(join(tmpdir(), 'macula-supply-'))
    const built = join(home, 'macula/built')
    await mkdir(built, { recursive: true })
    for (const name of await readdir(join(cacheDir, 'built')))
      if (!/^(registry|rootfs-services)-/.test(name)) await symlink(join(cacheDir, 'built', name), join(built, name))
    const folder = join(home, 'foreign')
    await mkdir(folder)
    await writeFile(join(folder, 'config.json'), JSON.stringify({ os: 'linux', architecture: other }))
    const manifest = [{ Config: 'config.json', RepoTags: ['nginx:1.30.4-alpine'], Layers: [] }]
    await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest))
    archive = join(home, 'foreign.tar')
    await $`tar --create --file ${archive} --directory ${folder} manifest.json config.json`
  })
  after(async () => {
    await $({ nothrow: true })`chmod --recursive u+w ${home}`
    await rm(home, { recursive: true, force: true })
  })

  const env = () => ({ XDG_CACHE_HOME: home, GOPROXY: 'http://127.0.0.1:9' })
  const sandbox = (...words: string[]) =>
    $({ cwd: root, timeout: '25m', nothrow: true, env: env() })`node lib/cli/launch.mjs sandbox --name supply ${words}`

  it('refuses a named archive for another processor before anything is made', async () => {
    const { exitCode, stderr } = await sandbox('--images', archive)
    assert.equal(exitCode, 2)
    assert.match(stderr, new RegExp(`foreign\\.tar: is for linux on ${other}; this machine has linux on`))
    assert.deepEqual(await readdir(join(home, 'macula')), ['built'])
  })

  it('says that the disk is too small, by how much and what would free it, before anything is made', async () => {
    const small = join(home, 'small')
    await mkdir(small)
    const script = `mount -t tmpfs -o size=64m tmpfs "$0" && mkdir -p "$0/macula/go" && head -c 5M /dev/zero >"$0/macula/go/x" && export XDG_CACHE_HOME="$0" &&
      node lib/cli/launch.mjs sandbox; code=$?; ls "$0/macula"; exit $code`
    const unshared = $({ cwd: root, timeout: '2m', nothrow: true })
    const { exitCode, stdout, stderr } = await unshared`unshare --mount sh -c ${script} ${small}`
    assert.equal(exitCode, 1)
    assert.match(
      stderr,
      /✗ .*small\/macula has 0\.1 GB free, the sandbox needs up to 16\.0 GB\n {2}Go's caches: 0\.0 GB\n/,
    )
    assert.match(stderr, /→ .*sandbox -- --prune/)
    assert.equal(stdout, 'go\n')
  })

  it('has the portal up first, then everything else, and a placeholder for what needs that program, which says why', async () => {
    await mkdir(join(home, 'macula/images'))
    await $`cp ${archive} ${join(home, 'macula/images')}`
    const script = `docker inspect --format '{{index .Config.Labels "macula.standin"}}' macula-registry macula-nginx
      for path in registry.macula.local/v2/ registry.macula.local/v2/_catalog home.macula.local/; do
        curl -s -o /dev/null -w '%{http_code}\n' http://$path
      done`
    const { exitCode, stdout, stderr } = await sandbox('--no-cluster', '--only', 'infrastructure', '--exec', script)
    assert.equal(exitCode, 0, stderr)
    // lines are broken between words
    const words = stderr.replace(/\s+/g, ' ')
    assert.match(words, /foreign\.tar is for linux on \w+; this machine has linux on \w+; it is not used/)
    assert.match(
      words,
      /! registry is a placeholder that only says it is healthy, because its image could not be made; everything else goes on/,
    )
    assert.match(
      words,
      /The Go module github\.com\/distribution\/distribution\/v3@\S+ cannot be fetched .*connection refused/,
    )
    assert.equal(stdout, 'placeholder\nreal\n200\n501\n200\n')
    const lines = [
      /^✓ Get the images {2}1 stand-in/m,
      /^ +rootfs-services: built/m,
      /^ +nginx ready/m,
      /^ +powerdns-db ready/m,
    ]
    const [image, packages, portal, database] = lines.map(line => stderr.search(line)) as [
      number,
      number,
      number,
      number,
    ]
    assert.ok(0 < image && image < packages && 0 < portal && portal < database, stderr)
  })

  it('gives back what the next start does not need when that is asked for, with sizes', async () => {
    const { exitCode, stderr } = await sandbox('--prune')
    assert.equal(exitCode, 0, stderr)
    assert.match(stderr, /^ {4} *[\d.]+ [kMG]?B {2}Go's caches$/m)
    assert.match(stderr, /^[\d.]+ [kMG]?B stay in .*\/macula$/m)
    assert.deepEqual((await readdir(join(home, 'macula'))).includes('go'), false)
  })
})
