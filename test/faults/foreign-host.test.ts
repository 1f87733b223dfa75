import assert from 'node:assert/strict'
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { hasTool } from '../../lib/system/exec.ts'
import { findProcesses } from '../../lib/system/processes.ts'
import { countFaults } from '../helpers/fault-table.ts'
import { inOwnNetwork, runInOwnNetwork, whyNoNetwork } from '../helpers/network.ts'
import { usePlainMachine } from '../helpers/plain-machine.ts'

const title = 'units, processes and files of another installation on the same machine'
if (inOwnNetwork) describe(title, foreignTests)
else {
  const missing = await Promise.all(['dnsmasq', 'socat'].map(async tool => ((await hasTool(tool)) ? [] : [tool])))
  const reason = whyNoNetwork() ?? (missing.flat().length > 0 ? `${missing.flat().join()} is not installed` : undefined)
  it(title, { skip: reason ?? false }, () => runInOwnNetwork(import.meta.url, 400_000))
}

const routing = ['setup-observability-routing', 'setup-data-routing', 'setup-kind-routing']
const tasks = ['setup-dnsmasq', 'setup-hosts', ...routing]

// a unit is enabled and active once it was enabled; every change is logged
const systemctl = `#!/bin/sh
cd "$(dirname "$0")/units" || exit 1
case $1 in
  show)
    shift 2
    for unit; do
      [ -e "$unit" ] && state='enabled active' || state=' inactive'
      printf 'UnitFileState=%s\\nActiveState=%s\\nNeedDaemonReload=no\\nMainPID=0\\n\\n' "\${state% *}" "\${state#* }"
    done ;;
  cat) exit 1 ;;
  enable) echo "$*" >>../changes; shift 2; for unit; do : >"$unit"; done ;;
  disable) echo "$*" >>../changes; shift; for unit; do rm -f "$unit"; done ;;
  *) echo "$*" >>../changes ;;
esac
`

function foreignTests() {
  const machine = usePlainMachine()

  /** Runs something as the installation of another folder. */
  async function asOther<T>(action: (stateDir: string) => Promise<T>): Promise<T> {
    const { MACULA_STATE_DIR: own } = machine.environment
    const stateDir = join(machine.folder, 'theirs (other)', '.macula')
    await mkdir(join(stateDir, '..'), { recursive: true })
    machine.environment.MACULA_STATE_DIR = stateDir
    try {
      return await action(stateDir)
    } finally {
      machine.environment.MACULA_STATE_DIR = own!
    }
  }
  const processes = async () =>
    (await findProcesses(([name = '']) => /(^|\/)(socat|dnsmasq)$/.test(name))).map(({ pid, startTime }) => ({
      pid,
      startTime,
    }))

  /** Each task has to refuse in the other's name, and to leave all as it is. */
  async function requireRefusals(names: readonly string[], stateDir: string, changes: () => Promise<unknown>) {
    await machine.remember()
    const [running, before] = [await processes(), await changes()]
    for (const name of names) {
      for (const words of [[], ['--yes'], ['--adopt', '--yes'], ['--dry-run']]) {
        const { exitCode, stderr } = await machine.task(name, ...words)
        assert.equal(exitCode, 1, `${name} ${words}: ${stderr}`)
        assert.ok(stderr.includes(`Another installation of the platform, in ${stateDir}, has`), stderr)
        assert.ok(stderr.includes(`Remove theirs: task teardown, in the checkout whose state folder is ${stateDir}`))
        const touched = { etc: await machine.changes(), processes: await processes(), log: await changes() }
        const expected = { etc: [], processes: running, log: before }
        countFaults('foreign units, processes, files touched', 1, isDeepStrictEqual(touched, expected) ? 0 : 1)
        assert.deepEqual(touched, expected, `${name} ${words}`)
      }
    }
  }

  it('without systemd are named and left alone by every task, and by doctor', async () => {
    machine.environment.ROUTING = 'socat'
    await asOther(async stateDir => {
      for (const name of tasks) await machine.succeeds(name, '--yes')
      assert.ok((await readFile(join(stateDir, 'installation.json'), 'utf8')).includes('"id"'))
    })
    await asOther(stateDir => {
      machine.environment.MACULA_STATE_DIR = machine.stateDir
      return requireRefusals(tasks, stateDir, async () => undefined)
    })
    const { stdout } = await machine.task('doctor', '--json')
    const found = JSON.parse(stdout).findings as { check: string; state: string; detail: string }[]
    for (const check of ['DNS settings', 'Routes'])
      assert.match(found.find(each => each.check === check)?.detail ?? '', /^Another installation .*theirs \(other\)/)
    machine.environment.MACULA_SANDBOX = 'try'
    await machine.succeeds('setup-dnsmasq', '--dry-run') // what a sandbox sees of its host is none of its business
    delete machine.environment.MACULA_SANDBOX
    for (const name of routing) await machine.succeeds(name, '--remove')
    assert.deepEqual(await machine.changes(), [], 'removing our routes removes none of theirs')
    await machine.succeeds('teardown', '--yes')
    assert.deepEqual(await machine.changes(), [])
    await asOther(() => machine.succeeds('teardown', '--yes'))
    assert.deepEqual(await processes().then(all => all.length), 1, 'the upstream server of the test')
  })

  it('with systemd are named and left alone by the routing tasks', async () => {
    const folder = join(machine.folder, 'bin')
    await mkdir(join(folder, 'units'), { recursive: true })
    await mkdir('/run/systemd/system', { recursive: true })
    await writeFile(join(folder, 'systemctl'), systemctl)
    await chmod(join(folder, 'systemctl'), 0o755)
    const { PATH } = machine.environment
    machine.environment.PATH = `${folder}:${PATH}`
    machine.environment.ROUTING = 'systemd'
    try {
      const stateDir = await asOther(async stateDir => {
        // nothing listens for a systemctl of ours, so the look from outside fails
        for (const name of routing) await machine.task(name, '--yes')
        return stateDir
      })
      const unit = await readFile('/etc/systemd/system/macula.target', 'utf8')
      assert.ok(unit.includes(` in ${stateDir})`), unit)
      const log = () => readFile(join(folder, 'changes'), 'utf8')
      await requireRefusals(routing, stateDir, log)
    } finally {
      await asOther(() => machine.succeeds('teardown', '--yes'))
      await rm('/run/systemd', { recursive: true })
      machine.environment.PATH = PATH!
      delete machine.environment.ROUTING
    }
  })
}
