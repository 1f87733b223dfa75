import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { Platform } from '../../../lib/platform/platform.ts'
import { requireValidConfigs } from '../../../lib/stack/config/validate.ts'
import { writeStackFiles } from '../../../lib/stack/files.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'
import type { Result, Shell } from '../../../lib/system/exec.ts'
import { exampleInstallation } from '../../helpers/example.ts'
import { goodPlatform } from '../../helpers/platform.ts'
import { shellAnswering } from '../../helpers/shell.ts'
import { installedState } from '../../helpers/things.ts'

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
})
