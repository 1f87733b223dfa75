import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { root } from '../../lib/system/checkout.ts'
import { exampleSettings } from '../helpers/platform.ts'
import { run } from '../helpers/run.ts'

const kind = (version: string) => `case "$1" in version) echo ${version} ;; *) echo "kind $*" >>"$LOG" ;; esac`
const kubectl = `case "$*" in
  *current*|*get-contexts*) exit 1 ;;
  version*) echo '{"clientVersion":{"gitVersion":"v1.35.8"}}' ;;
  *'--context nobody'*) echo 'error: context "nobody" does not exist' >&2; exit 1 ;;
  *) echo "kubectl $*" >>"$LOG" ;;
esac`
/** An engine that has nothing yet, on a machine with cgroup v1 or v2. */
const docker = (cgroups: 1 | 2) => `case "$*" in
  info*) echo ${cgroups} ;;
  'compose version --short') echo 5.6.0 ;;
  compose*) cat ;;
  'network inspect'*macula-infra*) echo 4711 ;;
  ps* | version* | *inspect* | *' ls'*) ;;
  *) echo "docker $*" >>"$LOG" ;;
esac`

describe('task setup-cluster', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-setup-cluster-'))
    const settings = await exampleSettings({ MACULA_LOOPBACK: '127.78.0.1', KIND_NODE_IMAGE: 'kindest/node:v1.37.0' })
    const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}`)
    await writeFile(join(folder, '.env'), lines.join('\n'))
    for (const name of ['bash', 'sh', 'cat']) {
      const { stdout } = await run(['bash', '-c', 'type -P "$0"', name])
      await symlink(stdout.trim(), join(folder, name))
    }
  })
  afterEach(() => rm(folder, { recursive: true }))

  /** Runs the task with nothing on PATH but these programs; it has to fail, and to have made nothing. */
  async function refusal(programs: Record<string, string>, settings: Record<string, string> = {}) {
    for (const [name, script] of Object.entries(programs))
      await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    const child = spawn(process.execPath, ['lib/cli/launch.mjs', 'setup-cluster'], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: folder,
        HOME: folder,
        LOG: join(folder, 'log'),
        MACULA_ENV_FILE: join(folder, '.env'),
        MACULA_STATE_DIR: join(folder, 'state'),
        MACULA_LOCAL_COMPOSE: join(folder, 'none.yml'),
        MACULA_LOCAL_KIND: join(folder, 'none.yaml'),
        ...settings,
      },
    })
    let stderr = ''
    child.stderr.on('data', data => {
      stderr += data
    })
    const exitCode = await new Promise<number | null>(resolve => child.on('exit', resolve))
    assert.doesNotMatch(stderr, /^\s+at /m)
    assert.equal(await readFile(join(folder, 'log'), 'utf8').catch(() => ''), '', stderr)
    return { exitCode, stderr }
  }

  it('misses kind by name, and says how to get it', async () => {
    const { exitCode, stderr } = await refusal({ kubectl, docker: docker(2) })
    assert.equal(exitCode, 1)
    assert.match(stderr, /✗ kind is not installed; the cluster needs it\n.*→ CLUSTER_TOOLS=install in \.env/)
  })

  it('refuses a kind that is too old for the node image', async () => {
    const { exitCode, stderr } = await refusal({ kind: kind('0.31.0'), kubectl, docker: docker(2) })
    assert.equal(exitCode, 1)
    assert.match(stderr, /✗ kind 0\.31\.0 is too old for kindest\/node:v1\.37\.0\n.*It needs kind 0\.33 or newer/)
  })

  it('says before it makes anything that Kubernetes 1.35 and newer need cgroup v2', async () => {
    const { exitCode, stderr } = await refusal({ kind: kind('0.33.0'), kubectl, docker: docker(1) })
    assert.equal(exitCode, 1)
    assert.match(stderr, /✗ Kubernetes 1\.37 does not run on this machine: Docker uses cgroup v1/)
    assert.match(stderr, /→ .*KIND_NODE_IMAGE/)
  })

  it('says that the services have to be started first, before it creates anything', async () => {
    const withoutNetwork = docker(2).replace('echo 4711', "echo 'network macula-infra not found' >&2; exit 1")
    const { exitCode, stderr } = await refusal({ kind: kind('0.33.0'), kubectl, docker: withoutNetwork })
    assert.equal(exitCode, 1)
    assert.match(
      stderr,
      /✗ The network macula-infra of the platform's services does not exist\n[\s\S]*→ task start-infrastructure/,
    )
  })

  it('names a port that is taken, with who has it, before it makes anything', async () => {
    const server = createServer().listen(0, '127.78.0.1')
    await new Promise(resolve => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const programs = { kind: kind('0.33.0'), kubectl, docker: docker(2) }
    const settings = { INGRESS_HTTP_PORT: String(port) }
    const { exitCode, stderr } = await refusal(programs, settings).finally(() => server.close())
    assert.equal(exitCode, 1)
    assert.match(stderr, new RegExp(`127\\.78\\.0\\.1:${port}/tcp is held by .*pid ${process.pid}`))
    assert.match(stderr, /INGRESS_HTTP_PORT/)
  })

  it('names a context that the kubeconfig does not have', async () => {
    const existing = { CLUSTER: 'existing', CLUSTER_CONTEXT: 'nobody', REGISTRY: 'registry.example.com/team' }
    const { exitCode, stderr } = await refusal({ kubectl, docker: docker(2) }, existing)
    assert.equal(exitCode, 1)
    assert.match(stderr, /✗ There is no context nobody in your kubeconfig[\s\S]*→ kubectl config get-contexts/)
  })
})
