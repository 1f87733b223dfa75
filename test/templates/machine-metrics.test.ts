import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { alpineTools } from '../helpers/alpine.ts'
import { contentOf, renderExample } from '../helpers/example.ts'
import { run } from '../helpers/run.ts'
import { freePort, until } from '../helpers/sockets.ts'
import { debianValidator } from '../helpers/validators.ts'

const files = await renderExample()
const nginx = await debianValidator('nginx')
const promtool = await debianValidator('promtool')
const tools = await alpineTools()
const skip = nginx.skip || (process.getuid?.() === 0 ? false : 'nginx becomes another user, which only root can')

const ids = { nginx: 'a'.repeat(64), node: 'b'.repeat(64), foreign: 'c'.repeat(64) }
const mounted = (Name: string) => ({ RW: true, Name, Driver: 'local', Type: 'volume' })
/** What the engine writes of each, as far as it is read; the foreign one tries to look like one of ours. */
const configs = {
  nginx: {
    State: { Running: true },
    ID: ids.nginx,
    Config: {
      Env: ['A="Name":"/evil"', 'B="RestartCount":99'],
      Labels: { 'com.docker.compose.project': 'macula', 'com.docker.compose.service': 'nginx' },
    },
    MountPoints: {
      '/data': mounted('macula_registry-data'),
      '/wiki': mounted('my-wiki.1'),
      '/unnamed': mounted('d'.repeat(64)),
      '/bind': { ...mounted(''), Driver: '', Type: 'bind' },
    },
    Name: '/macula-nginx',
    RestartCount: 2,
  },
  node: {
    ID: ids.node,
    Config: { Labels: { 'io.x-k8s.kind.cluster': 'macula' } },
    Name: '/macula-control-plane',
    RestartCount: 0,
  },
  foreign: {
    ID: ids.foreign,
    Config: {
      Env: ['A="com.docker.compose.project":"macula"'],
      Labels: { 'com.docker.compose.project': 'macula-other' },
    },
    MountPoints: { '/data': mounted('other_data') },
    Name: '/foreign',
    RestartCount: 1,
  },
}

let folder = ''
let port = 0
let measuring: ChildProcess | undefined

before(async () => {
  if (skip !== false) return
  folder = await mkdtemp(join(tmpdir(), 'macula-machine-'))
  // the web server is another user
  await chmod(folder, 0o755)
  port = await freePort()
  for (const name of ['measure.sh', 'containers.awk', 'nginx.conf'])
    await put(
      name,
      contentOf(files, `config/machine-metrics/${name}`)
        .replaceAll('/run/macula', join(folder, 'run'))
        .replace('user nginx;', '')
        .replace('listen 9100;', `listen 127.0.0.1:${port};`),
    )
  // the container ends with the script, and its web server with it
  await put('bin/nginx', `#!/bin/sh\nexec ${nginx.program} -p ${folder} "$@"\n`, 0o755)
  for (const [name, config] of Object.entries(configs))
    await put(`machine/containers/${ids[name as keyof typeof ids]}/config.v2.json`, JSON.stringify(config))
  await put('machine/volumes/macula_registry-data/_data/blob', 'x'.repeat(100_000))
  for (const name of ['other_data', 'my-wiki.1', 'd'.repeat(64)]) await put(`machine/volumes/${name}/_data/blob`, 'x')
})

after(async () => {
  await stop()
  if (folder) await rm(folder, { recursive: true })
})

const ours = [
  'macula_container_cpu_seconds_total{service="macula-control-plane",container="macula-control-plane"} 7.000000',
  'macula_container_cpu_seconds_total{service="nginx",container="macula-nginx"} 1.234567',
  'macula_container_memory_bytes{service="macula-control-plane",container="macula-control-plane"} 3000',
  'macula_container_memory_bytes{service="nginx",container="macula-nginx"} 4000000000',
  'macula_container_restarts{service="macula-control-plane",container="macula-control-plane"} 0',
  'macula_container_restarts{service="nginx",container="macula-nginx"} 2',
]

test('containers and nodes of ours are measured in version 2 of cgroups, by systemd or not, and nobody else', {
  skip,
}, async () => {
  await rm(join(folder, 'machine/cgroup'), { recursive: true, force: true })
  await put('machine/cgroup/cgroup.controllers', 'cpu memory')
  const v2 = async (group: string, microseconds: number, bytes: number, cached: number) => {
    await put(`machine/cgroup/${group}/cpu.stat`, `usage_usec ${microseconds}\nuser_usec 1\n`)
    await put(`machine/cgroup/${group}/memory.current`, `${bytes}\n`)
    await put(`machine/cgroup/${group}/memory.stat`, `anon 1\ninactive_file ${cached}\n`)
  }
  await v2(`system.slice/docker-${ids.nginx}.scope`, 1234567, 5_000_000_000, 1_000_000_000)
  await v2(`sandbox/${ids.node}`, 7_000_000, 4000, 1000)
  // what a node runs is counted in it
  await v2(`sandbox/${ids.node}/kubelet.slice/cri-${ids.nginx}.scope`, 1, 1, 0)
  await v2(`system.slice/docker-${ids.foreign}.scope`, 1, 1, 0)
  assert.deepEqual(await measured(/^macula_container/), ours)
})

test('and in version 1', { skip }, async () => {
  await rm(join(folder, 'machine/cgroup'), { recursive: true, force: true })
  const v1 = async (group: string, nanoseconds: number, bytes: number, cached: number) => {
    await put(`machine/cgroup/cpuacct/${group}/cpuacct.usage`, `${nanoseconds}\n`)
    await put(`machine/cgroup/memory/${group}/memory.usage_in_bytes`, `${bytes}\n`)
    await put(`machine/cgroup/memory/${group}/memory.stat`, `inactive_file 1\ntotal_inactive_file ${cached}\n`)
  }
  await v1(`docker/${ids.nginx}`, 1_234_567_000, 5_000_000_000, 1_000_000_000)
  await v1(`docker/${ids.node}`, 7_000_000_000, 4000, 1000)
  assert.deepEqual(await measured(/^macula_container/), ours)
})

test('a container that does not run has restarts, and neither processor time nor memory', { skip }, async () => {
  await rm(join(folder, 'machine/cgroup'), { recursive: true, force: true })
  await put('machine/cgroup/cgroup.controllers', '')
  assert.deepEqual(
    await measured(/^macula_container/),
    ours.filter(line => line.includes('_restarts')),
  )
})

test('volumes of ours have the size of their files, also those with names of their own; nobody else has one', {
  skip,
}, async () => {
  const lines = await measured(/^macula_volume/)
  const names = lines.map(line => /^macula_volume_bytes\{volume="(.*)"\} \d+$/.exec(line)?.[1])
  assert.deepEqual(names, ['my-wiki.1', 'registry-data'])
  const bytes = Number(lines[1]?.split(' ')[1])
  assert.ok(bytes >= 100_000 && bytes < 200_000, lines[1])
})

test('promtool finds nothing wrong with what is shown, and nothing else is', {
  skip: skip || promtool.skip,
}, async () => {
  await measured(/^macula_volume/)
  await run([promtool.program, 'check', 'metrics'], {
    input: await readFile(join(folder, 'run/metrics.txt'), 'utf8'),
    env: promtool.env,
  })
  assert.equal((await fetch(`http://127.0.0.1:${port}/volumes.txt`)).status, 404)
})

/** The lines that the web server shows after a new start. */
async function measured(pattern: RegExp): Promise<string[]> {
  await stop()
  await rm(join(folder, 'run'), { recursive: true, force: true })
  const { MACHINE, RUN } = { MACHINE: join(folder, 'machine'), RUN: join(folder, 'run') }
  measuring = spawn('sh', [join(folder, 'measure.sh')], {
    stdio: 'inherit',
    env: {
      ...process.env,
      ...nginx.env,
      PATH: `${join(folder, 'bin')}:${tools}${process.env.PATH}`,
      MACULA_PROJECT: 'macula',
      CLUSTER_NAME: 'macula',
      ROUND_SECONDS: '0.2',
      MACHINE,
      RUN,
    },
  })
  let lines: string[] = []
  await until(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => undefined)
    lines = answer?.ok ? (await answer.text()).split('\n').filter(line => pattern.test(line)) : []
    return lines.length > 0
  }, 'something is measured')
  return lines.sort()
}

async function stop(): Promise<void> {
  if (measuring === undefined || measuring.exitCode !== null) return
  const ended = once(measuring, 'exit')
  const server = await readFile(join(folder, 'run/nginx.pid'), 'utf8')
  // the engine stops a container of this image with it
  measuring.kill('SIGQUIT')
  process.kill(Number(server), 'SIGTERM')
  assert.deepEqual(await ended, [0, null], 'the script does not end by itself')
  const answers = () =>
    fetch(`http://127.0.0.1:${port}/metrics`).then(
      () => true,
      () => false,
    )
  await until(async () => !(await answers()), 'the web server ends')
}

async function put(path: string, content: string, mode = 0o644): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true })
  await writeFile(join(folder, path), content, { mode })
}
