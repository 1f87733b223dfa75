import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { journalFile } from '../../lib/journal/journal-file.ts'
import { root } from '../../lib/system/checkout.ts'
import { hasTool } from '../../lib/system/exec.ts'
import { findProcesses } from '../../lib/system/processes.ts'
import { inOwnNetwork, runInOwnNetwork, whyNoNetwork } from '../helpers/network.ts'
import { usePlainMachine } from '../helpers/plain-machine.ts'

// `task setup` on a machine with a network and an /etc of its own and a real dnsmasq and socat. Its engine is a stand-in that works until the nodes
// are created while the services start, and then hangs, refuses or dies; or somebody presses Ctrl-C at that moment.

const title = 'setup, broken off while several steps run'
if (inOwnNetwork) describe(title, tests)
else {
  const missing = await Promise.all(['dnsmasq', 'socat'].map(async tool => ((await hasTool(tool)) ? [] : [tool])))
  const reason = whyNoNetwork() ?? (missing.flat().length > 0 ? `${missing.flat().join()} is not installed` : undefined)
  it(title, { skip: reason ?? false }, () => runInOwnNetwork(import.meta.url, 600_000))
}

function tests() {
  const machine = usePlainMachine()
  const at = (name: string) => join(machine.folder, name)

  /** `broken` is what docker does from the moment on at which all services are started while kind creates the nodes. */
  async function prepare(broken: string): Promise<void> {
    const bin = at('bin')
    await mkdir(bin, { recursive: true })
    for (const name of ['kind-runs', 'broken', 'well']) await rm(at(name), { force: true })
    const works = `exec "${process.execPath}" "${join(root, 'test/helpers/fake-docker.mjs')}" "$@"`
    const programs = {
      docker: `
        [ -e ${at('well')} ] && ${works}
        case "$*" in 'compose up'*timescaledb*) until [ -e ${at('kind-runs')} ]; do sleep 0.1; done; touch ${at('broken')};; esac
        [ -e ${at('broken')} ] && { ${broken}
        }
        ${works}`,
      // as kind does it, by docker
      kind: `
        [ "$1" = version ] && echo 0.33.0 && exit
        [ "$1" = create ] || exit 0
        [ -e ${at('well')} ] && { echo 'kind cannot do this here' >&2; exit 1; }
        touch ${at('kind-runs')}
        until [ -e ${at('broken')} ]; do sleep 0.1; done
        docker inspect macula-control-plane`,
      kubectl: `case "$*" in version*) echo '{"clientVersion":{"gitVersion":"v1.37.0"}}' ;; *) exit 1 ;; esac`,
    }
    for (const [name, script] of Object.entries(programs)) {
      await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`)
      await chmod(join(bin, name), 0o755)
    }
    await writeFile(at('engine.json'), JSON.stringify({ containers: [], networks: [], volumes: [] }))
    Object.assign(machine.environment, {
      PATH: `${bin}:${process.env.PATH}`,
      HOME: machine.folder,
      FAKE_DOCKER: at('engine.json'),
      ROUTING: 'socat',
    })
  }

  /** Runs setup to its end; `interrupts` sends Ctrl-C once the services are started while the nodes are created. */
  async function setup({ interrupts = false } = {}) {
    const started = performance.now()
    const child = spawn(process.execPath, [join(root, 'lib/cli/launch.mjs'), 'setup', '--yes'], {
      env: machine.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (said += chunk))
    let broken = 0
    const limit = setTimeout(() => child.kill('SIGKILL'), 120_000)
    const exited = once(child, 'exit')
    while (child.exitCode === null && child.signalCode === null) {
      await pause(50)
      if (broken > 0 || !existsSync(at('broken'))) continue
      broken = performance.now()
      if (interrupts) child.kill('SIGINT')
    }
    clearTimeout(limit)
    await exited
    const seconds = (performance.now() - (broken || started)) / 1000
    // setup's own, not the servers that it starts for the machine
    const left = await findProcesses(words => words.some(word => /bin\/(docker|kind|kubectl)$|launch\.mjs$/.test(word)))
    for (const { pid } of left) process.kill(pid, 'SIGKILL')
    return { exitCode: child.exitCode, said, seconds, left: left.map(({ command }) => command.join(' ')) }
  }

  const engines: Record<string, { broken: string; named: RegExp }> = {
    hangs: {
      broken: `trap '' TERM INT HUP; while :; do sleep 1; done`,
      named: /✗ Docker at .* accepts connections and does not answer/,
    },
    refuses: {
      broken: `echo 'Cannot connect to the Docker daemon at unix:///nowhere.sock. Is the docker daemon running?' >&2; exit 1`,
      named: /✗ Docker is not running/,
    },
    'dies half way': {
      broken: `echo 'error during connect: Get "http://%2Fnowhere.sock/v1.51/containers/json": EOF' >&2; exit 1`,
      named: /error during connect/,
    },
  }
  for (const [how, { broken, named }] of Object.entries(engines))
    it(`by an engine that ${how}: it is named, all steps end within 20 s, and the next setup carries on`, async context => {
      await prepare(broken)
      const { exitCode, said, seconds, left } = await setup()
      context.diagnostic(`${seconds.toFixed(1)} s`)
      assert.equal(exitCode, 1, said)
      assert.match(said, named)
      assert.match(said, /^✗ \d steps? of 17 failed: .*stack/m)
      assert.match(said, /^ {2}not begun: .*cluster/m)
      assert.ok(seconds < 20, `${seconds} s\n${said}`)
      assert.deepEqual(left, [])
      await carriesOn()
    })

  it('by Ctrl-C: all steps end within 5 s, and the next setup carries on', async context => {
    await prepare(`exec sleep 300`)
    const { exitCode, said, seconds, left } = await setup({ interrupts: true })
    context.diagnostic(`${seconds.toFixed(1)} s`)
    assert.equal(exitCode, 130, said)
    assert.match(said, /^✗ Create the nodes .* {2}interrupted/m)
    assert.match(said, /^✗ Start containers {2}interrupted/m)
    assert.ok(seconds < 5, `${seconds} s\n${said}`)
    assert.deepEqual(left, [])
    const { last } = JSON.parse((await machine.task('timings', '--json')).stdout)
    const interrupted = last.steps.filter(({ state }: { state: string }) => state === 'interrupted')
    assert.deepEqual(interrupted.map(({ name }: { name: string }) => name).toSorted(), ['nodes', 'stack'])
    await carriesOn()
  })

  /** All that was changed on the machine stands in the journal; with an engine that is well, what was done stays and the rest is done; and all is undone. */
  async function carriesOn(): Promise<void> {
    const records = await journalFile(machine.stateDir).read()
    const paths = records.flatMap(record => ('path' in record ? [record.path] : []))
    assert.deepEqual(
      (await machine.changes()).filter(path => !paths.includes(`/etc/${path}`)),
      [],
    )
    await writeFile(at('well'), '')
    const { said } = await setup()
    assert.match(said, /^✓ Point the resolver .* {2}unchanged/m)
    // the stand-in has no registry, and makes no cluster
    assert.match(said, /^✗ 2 steps of 17 failed: (nodes, build|build, nodes)$/m)
    assert.match(said, /^ {2}done: .*stack.*data-routing/m)
    await machine.succeeds('teardown', '--yes', '--volumes')
    assert.deepEqual(await machine.changes(), [])
    assert.deepEqual(JSON.parse(await readFile(at('engine.json'), 'utf8')), {
      containers: [],
      networks: [],
      volumes: [],
    })
  }
}
