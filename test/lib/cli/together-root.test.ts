import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { root } from '../../../lib/system/checkout.ts'
import { isRoot } from '../../../lib/system/privilege.ts'

// three steps that run at once, as another user: two change files with root's help, one needs no root
const script = `
  import { createBoard } from '${root}/lib/cli/board.ts'
  import { changeMachine } from '${root}/lib/cli/change.ts'
  import { createOutput } from '${root}/lib/cli/output.ts'
  import { runTask } from '${root}/lib/cli/task.ts'
  import { runTogether } from '${root}/lib/cli/together.ts'
  const folder = process.env.FOLDER
  const options = { stdout: process.stdout, stderr: process.stdout, interactive: true, color: false, spinner: false }
  const task = (name, run) => ({ name, summary: '', leaves: [], undo: '', options: { 'dry-run': { type: 'boolean' } }, run })
  const step = name => ({ name, after: [], scripts: [{ task: name, script: name, words: [] }] })
  const writes = name => task(name, async ({ out, yes, options }) => {
    await changeMachine({ task: name, out, paths: { stateDir: folder + '/state' }, adopt: false, yes, dryRun: options['dry-run'] ?? false, reason: 'write' },
      machine => machine.step('Write', () => machine.open(name).$\`touch \${folder}/\${name}\`.then(() => 'updated')))
  })
  const tasks = { one: writes('one'), two: writes('two'), idle: task('idle', async () => {}) }
  const whole = task('setup', context => runTogether({ task: 'setup', steps: Object.keys(tasks).map(step), context, rootScripts: ['one', 'two'], reason: 'set this machine up' }))
  process.exitCode = await runTask(whole, [], {
    environment: { MACULA_STATE_DIR: folder + '/state' }, showHelp() {},
    createOutput: async () => createOutput(options), createBoard: async () => createBoard(options), loadTask: async name => tasks[name],
  })`

const sudo = `#!/bin/sh
if [ "$1" = -n ]; then echo "a password is required" >&2; exit 1; fi
echo asked >> "$FOLDER/asked"
ls "$FOLDER" > "$FOLDER/there"
shift; exec "$@"`

const cannot =
  (!isRoot() && 'needs root, to become another user') ||
  (spawnSync('setpriv', ['--reuid=65534', '--clear-groups', 'test', '-r', join(root, 'package.json')]).status !== 0 &&
    `another user cannot read ${root}`)

describe('steps of another user that need root', { skip: cannot }, () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-together-root-'))
    await chmod(folder, 0o777)
    await writeFile(join(folder, 'sudo'), sudo, { mode: 0o755 })
  })
  after(() => rm(folder, { recursive: true }))

  it('prompt once, for all that they would change, before any of it is changed', async () => {
    const node = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', script]
    const { status, stdout, stderr } = spawnSync('setpriv', ['--reuid=65534', '--clear-groups', ...node], {
      cwd: root,
      encoding: 'utf8',
      env: { PATH: `${folder}:/usr/bin:/bin`, HOME: folder, FOLDER: folder },
    })
    assert.equal(status, 0, stdout + stderr)
    assert.equal(stdout.match(/sudo is needed to set this machine up \(2 changes\)/g)?.length, 1, stdout)
    assert.equal(await readFile(join(folder, 'asked'), 'utf8'), 'asked\n')
    assert.doesNotMatch(await readFile(join(folder, 'there'), 'utf8'), /^(one|two)$/m)
  })
})
