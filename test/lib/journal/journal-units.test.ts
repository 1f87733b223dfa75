import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { openJournal } from '../../../lib/journal/journal.ts'
import { $ } from '../../../lib/system/exec.ts'

// a unit is enabled and active where a file says so; every change is logged
const systemctl = `#!/bin/sh
cd "$(dirname "$0")/units" || exit 1
case $1 in
  show)
    shift 2
    for unit; do
      state=$(cat "$unit" 2>/dev/null)
      printf 'UnitFileState=%s\\nActiveState=%s\\nNeedDaemonReload=no\\nMainPID=0\\n\\n' "\${state% *}" "\${state#* }"
    done ;;
  enable) echo "$*" >>../log; shift 2; for unit; do echo enabled active >"$unit"; done ;;
  disable) echo "$*" >>../log; shift 2; echo disabled inactive >"$1" ;;
  stop) echo "$*" >>../log; echo enabled inactive >"$2" ;;
esac`

describe('units in the journal', () => {
  const path = process.env.PATH
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-units-'))
    await mkdir(join(folder, 'units'))
    await writeFile(join(folder, 'systemctl'), systemctl, { mode: 0o755 })
    process.env.PATH = [folder, path].join(delimiter)
  })
  afterEach(async () => {
    process.env.PATH = path
    await rm(folder, { recursive: true })
  })
  const open = (scope: string) => openJournal({ stateDir: join(folder, 'state'), privilege: { $ }, scope })
  const commands = async () => (await readFile(join(folder, 'log'), 'utf8')).trimEnd().split('\n')

  it('are enabled in one command, those that are not so already, and put back one by one in their own scopes', async () => {
    await writeFile(join(folder, 'units', 'there.socket'), 'enabled active\n')
    await writeFile(join(folder, 'units', 'half.socket'), 'enabled inactive\n')
    const units = [
      { unit: 'there.socket' },
      { unit: 'half.socket', scope: 'routes/data/half' },
      { unit: 'new.socket', scope: 'routes/data/new' },
    ]
    assert.deepEqual(await open('routes').enableUnits(units), ['unchanged', 'updated', 'created'])
    assert.deepEqual(await commands(), ['enable --now half.socket new.socket'])
    assert.deepEqual(await open('routes').enableUnits(units), ['unchanged', 'unchanged', 'unchanged'])
    await open('routes/data/new').undo()
    await open('').undo()
    assert.deepEqual(await commands(), [
      'enable --now half.socket new.socket',
      'disable --now new.socket',
      'stop half.socket',
    ])
  })
})
