import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { Platform } from '../../../lib/platform/platform.ts'
import { requireValidConfigs } from '../../../lib/stack/config/validate.ts'
import { writeStackFiles } from '../../../lib/stack/files.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'
import type { Result, Shell } from '../../../lib/system/exec.ts'
import { exampleInstallation, renderExample } from '../../helpers/example.ts'
import { movedHere, nginx } from '../../helpers/gateway.ts'
import { goodPlatform } from '../../helpers/platform.ts'
import { ask } from '../../helpers/run.ts'
import { shellAnswering, shellOf } from '../../helpers/shell.ts'
import { freePort } from '../../helpers/sockets.ts'
import { installedState } from '../../helpers/things.ts'
import { builtValidator, debianValidator } from '../../helpers/validators.ts'

describe('a configuration that would replace a working one', () => {
  let platform: Platform
  let state: Awaited<ReturnType<typeof installedState>>
  beforeEach(async () => {
    state = await installedState()
    const whole = await goodPlatform()
    platform = { ...whole, paths: { ...whole.paths, stateDir: state.stateDir } }
  })
  afterEach(() => state.remove())

  const files = (text: string) =>
    [
      'nginx/nginx.conf',
      'prometheus/prometheus.yml',
      'loki/loki.yml',
      'tempo/tempo.yml',
      'collector/collector.yml',
    ].map(path => ({ path: `config/${path}`, content: text }))
  const engine = (run: Partial<Result>, asked: string[] = [], standIn = ''): Shell =>
    shellAnswering({ 'docker image inspect': `${standIn}\n`, 'docker run': run }, asked)
  const judge = (text: string, shell: Shell) => requireValidConfigs(platform, files(text), exampleInstallation, shell)
  const runs = (asked: string[]) => asked.filter(command => command.startsWith('docker run'))

  it('is judged by each program in its own image, without a network, from a folder beside the working one', async () => {
    await writeStackFiles(state, files('old'))
    const asked: string[] = []
    await judge('new', engine({}, asked))
    const words = ['nginx -t -q', 'promtool .*check config', '-verify-config', '-config.verify', 'validate --config=']
    assert.equal(runs(asked).length, words.length)
    for (const word of words)
      assert.ok(
        runs(asked).some(command => new RegExp(word.replace('nginx -t', '-t')).test(command)),
        word,
      )
    for (const command of runs(asked))
      assert.match(
        command,
        /--network none .*\/candidate-\w+\/config\/.*readonly .*io\.macula\.installation=0123456789ab/,
      )
    assert.deepEqual(
      (await readdir(state.stateDir)).filter(name => name.startsWith('candidate')),
      [],
    )
  })

  it('is rejected in the words of its program, before anything is written', async () => {
    await writeStackFiles(state, files('old'))
    const stderr = 'nginx: [emerg] unexpected "}" in /etc/nginx/macula/vhosts.conf:12\n'
    await assert.rejects(judge('new', engine({ exitCode: 1, stderr })), (error: PlatformError) => {
      assert.match(error.message, /rejected by the programs they are for/)
      assert.match(error.why ?? '', /^nginx: nginx: \[emerg\] unexpected "}" in .*vhosts\.conf:12$/m)
      assert.match(error.hint ?? '', /Nothing was changed/)
      return true
    })
    assert.deepEqual(
      (await readdir(state.stateDir)).filter(name => name.startsWith('candidate')),
      [],
    )
  })

  it('costs no container where nothing changes, or nothing is there to replace', async () => {
    const asked: string[] = []
    await judge('first', engine({}, asked))
    await writeStackFiles(state, files('first'))
    await judge('first', engine({}, asked))
    assert.deepEqual(asked, [])
  })

  it('is not judged by a placeholder, nor where the program is not in the image', async () => {
    await writeStackFiles(state, files('old'))
    const asked: string[] = []
    await judge('new', engine({ exitCode: 1 }, asked, 'placeholder'))
    assert.deepEqual(runs(asked), [])
    await judge('new', engine({ exitCode: 127, stderr: 'executable file not found in $PATH' }))
  })

  describe('judged by the real program', async () => {
    const programs = {
      nginx: nginx,
      prometheus: await debianValidator('promtool'),
      collector: await builtValidator('collector', 'collector'),
    }
    /** What is wrong in a way that only the program knows, and its words for that. */
    const wrong: Record<keyof typeof programs, [path: string, more: string, words: RegExp]> = {
      nginx: ['config/nginx/nginx.conf', 'server { listen 80; }\n', /nginx: .*"server" directive is not allowed here/],
      prometheus: [
        'config/prometheus/prometheus.yml',
        'scrape_config: []\n',
        /prometheus: .*field scrape_config not found/s,
      ],
      collector: ['config/collector/collector.yml', 'exporter: {}\n', /collector: .*invalid keys: exporter/s],
    }

    /** An engine that runs the program of this machine in the place of the image's, on the folder that is mounted. */
    const engineOf = (service: keyof typeof programs) =>
      shellOf(async command => {
        if (command.startsWith('docker image inspect')) return ''
        const { program, env } = programs[service]
        const [, source = '', target = ''] = /source=([^,]+),target=([^,]+)/.exec(command) ?? []
        const folder = source.replace(/\/config\/\w+$/, '')
        const image = platform.services.find(({ name }) => name === service)?.image ?? ''
        const words = command.slice(command.indexOf(image) + image.length + 1).split(' ')
        if (service === 'nginx')
          for (const name of await readdir(source)) {
            const text = await readFile(join(source, name), 'utf8')
            const here = { folder, ip: '127.88.0.1', port: await freePort(), upstreamPort: 9 }
            await writeFile(join(source, name), movedHere(text, here))
          }
        const { exitCode, stdout, stderr } = await ask(
          [program, ...words.map(word => word.replaceAll(target, source))],
          { env },
        )
        return { exitCode, stdout, stderr }
      })

    /** What the user adds, in a way that only the program knows to be wrong. */
    const added: readonly (readonly [keyof typeof programs, path: string, text: string, words: RegExp])[] = [
      [
        'prometheus',
        'rules/mine.yml',
        'groups: [{ name: mine, rules: [{ alert: Mine, expr: "sum(up" }] }]\n',
        /local-mine\.yml: .*unclosed left parenthesis/s,
      ],
      [
        'collector',
        'collector.yml',
        'service: { pipelines: { logs/mine: { receivers: [file_log], exporters: [nowhere] } } }\n',
        /references exporter "nowhere" which is not configured/,
      ],
    ]
    for (const [service, path, text, words] of added)
      it(`${path} of the user's own: the working one stays, and the message has the words of ${service}`, {
        skip: programs[service].skip,
      }, async () => {
        const observability = join(state.stateDir, 'observability')
        await mkdir(join(observability, 'rules'), { recursive: true })
        const rendered = async () =>
          (await renderExample({ observability })).filter(file => file.path.startsWith(`config/${service}/`))
        const before = await rendered()
        await writeStackFiles(state, before)
        await writeFile(join(observability, path), text)
        const now = await rendered()
        await assert.rejects(
          requireValidConfigs(platform, now, exampleInstallation, engineOf(service)),
          (error: PlatformError) => {
            assert.match(error.why ?? '', words)
            return true
          },
        )
        for (const file of before) assert.equal(await readFile(join(state.stateDir, file.path), 'utf8'), file.content)
      })

    for (const service of ['nginx', 'prometheus', 'collector'] as const)
      it(`of ${service}: the working one stays, and the message has its words`, {
        skip: programs[service].skip,
      }, async () => {
        const [path, more, words] = wrong[service]
        const all = (await renderExample()).filter(file => file.path.startsWith(`config/${service}/`))
        await writeStackFiles(state, all)
        const changed = (text: string) =>
          all.map(file => (file.path === path ? { ...file, content: file.content + text } : file))
        const judge = (text: string) =>
          requireValidConfigs(platform, changed(text), exampleInstallation, engineOf(service))
        await judge('# a comment\n')
        await assert.rejects(judge(more), (error: PlatformError) => {
          assert.match(error.why ?? '', words)
          return true
        })
        for (const file of all) assert.equal(await readFile(join(state.stateDir, file.path), 'utf8'), file.content)
        assert.deepEqual(
          (await readdir(state.stateDir)).filter(name => name.startsWith('candidate')),
          [],
        )
      })
  })
})
