import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { root } from '../../lib/system/checkout.ts'
import { table } from '../../lib/system/text.ts'
import { countFaults } from '../helpers/fault-table.ts'
import { type StubbedTasks, stubbedTasks } from '../helpers/stub-docker.ts'

// Every task, against engines that hang, refuse and die: it says which engine that is, in time, and no process outlives it.

/** The sandbox has an engine of its own. */
const names = readdirSync(join(root, 'tasks'))
  .map(file => file.replace(/\.ts$/, ''))
  .filter(name => name !== 'sandbox')
/** These neither use an engine nor need to know of it. */
const withoutEngine = ['configure', 'outdated', 'setup-dnsmasq', 'setup-hosts', 'timings']
/** Where nothing is deployed yet, these end before they come to the engine. */
const early = ['deploy-ingress', 'deploy-apps', 'build-and-push']
const words: Record<string, string[]> = {
  configure: ['--yes'],
  setup: ['--yes'],
  teardown: ['--yes'],
  'delete-cluster': ['--yes'],
  logs: ['--tail', '1'],
  'install-packages': ['--dry-run'],
  'setup-dnsmasq': ['--dry-run'],
  'setup-hosts': ['--dry-run'],
}

/** A copy of this machine's /etc and no network but its own: nothing that a task changes is this machine's. */
const inPrivate = `set -e
  ip link set lo up
  mount -t tmpfs none /mnt
  mkdir /mnt/upper /mnt/work
  mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work none /etc
  mount -t tmpfs none /run
  exec "$@"`
const isPrivate =
  spawnSync('unshare', ['--mount', '--net', 'sh', '-c', inPrivate, 'private', 'true'], { stdio: 'ignore' }).status === 0
/** How many tasks run at the same time; most of that time they wait. */
const atOnce = 3

/** A task that has printed its error has ended by then, and one that needs the engine has named it. On a machine that is busy, times its slowness. */
const [endLimitSeconds, namedLimitSeconds] = [1, 15]

/** How many times slower this machine is now than one where a task starts within a second; 1 where it is not. */
function slowness(): number {
  const started = performance.now()
  spawnSync(process.execPath, ['lib/cli/launch.mjs', 'status', '--help'], { cwd: root })
  return Math.max(1, (performance.now() - started) / 1000)
}

/** What a run of a task was like, from outside. */
interface Ending {
  exitCode: number | null
  stderr: string
  /** Until the error was printed. */
  seconds: number
  /** Processes of the run one second after its end, or at the limit where it does not end. */
  alive: string[]
  /** Until the process had ended, since the error. */
  lasted: number
}

describe('the end of every task where the engine fails', {
  skip: !isPrivate && 'needs root, to run tasks in a private copy of the machine',
}, () => {
  let tasks: StubbedTasks
  let hanging: Server
  const sockets = new Set<Socket>()
  const rows: string[][] = []
  let leftAlive = 0
  let runs = 0

  before(async () => {
    tasks = await stubbedTasks()
    for (const [name, said] of [
      ['kind', 'echo 0.33.0'],
      ['kubectl', `echo '{"clientVersion":{"gitVersion":"v1.35.8"}}'`],
    ] as const)
      await writeFile(join(tasks.folder, name), `#!/bin/sh\n${said}\n`, { mode: 0o755 })
    hanging = createServer(socket => {
      sockets.add(socket)
      socket.on('error', () => {})
    })
    hanging.listen(join(tasks.folder, 'hanging.sock'))
    await once(hanging, 'listening')
  })
  after(async () => {
    for (const socket of sockets) socket.destroy()
    hanging.close()
    await tasks.remove()
    const header = [
      'engine',
      'tasks',
      'named in (s, slowest)',
      'gone after (s, slowest)',
      'processes alive one second later',
    ]
    console.log(`${table(header, rows)}\nprocesses that outlived their task: ${leftAlive}`)
  })

  /** Runs a task, and looks one second after its end. */
  async function endingOf(name: string, slow: number, env: NodeJS.ProcessEnv): Promise<Ending> {
    runs += 1
    const run = `${name}-${process.pid}-${runs}`
    // as after a first start, and no lock that another one holds
    const stateDir = join(tasks.folder, `state-${run}`)
    await mkdir(stateDir)
    await writeFile(join(stateDir, 'docker-compose.yml'), 'services: {}\n')
    const started = performance.now()
    const task = [process.execPath, 'lib/cli/launch.mjs', name, ...(words[name] ?? [])]
    const child = spawn('unshare', ['--mount', '--net', 'sh', '-c', inPrivate, 'private', ...task], {
      cwd: root,
      env: { ...env, MACULA_STATE_DIR: stateDir, MACULA_RUN: run },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [stdout, stderr, named, ended] = ['', '', 0, 0]
    const now = () => (performance.now() - started) / 1000
    child.stdout.on('data', data => {
      stdout += data
    })
    child.stderr.on('data', data => {
      stderr += data
      // a failed step is shown before the error is
      if (named === 0 && /^✗ (?!.*\d s$)/m.test(stderr)) named = now()
    })
    child.on('exit', () => {
      ended = now()
    })
    const limit = setTimeout(() => child.kill('SIGKILL'), 60_000)
    while (named === 0 && ended === 0) await sleep(20)
    clearTimeout(limit)
    if (named === 0) named = ended
    while (ended === 0 && now() < named + endLimitSeconds * Math.min(slow, 5)) await sleep(20)
    await sleep(1000)
    const alive = processesOf(run)
    for (const { pid } of alive) process.kill(pid, 'SIGKILL')
    if (ended === 0) ended = now()
    return {
      exitCode: child.exitCode,
      stderr: stderr + stdout,
      seconds: named,
      // what a task that succeeded leaves is what it is for
      alive: child.exitCode === 0 ? [] : alive.map(({ command }) => command),
      lasted: ended - named,
    }
  }

  /** Everything that was started by a run, whoever its parent is by now: it has the run's environment. */
  function processesOf(run: string): { pid: number; command: string }[] {
    const { stdout } = spawnSync('sh', ['-c', 'grep -lsaF "$1" /proc/[0-9]*/environ', 'look', `MACULA_RUN=${run}`], {
      encoding: 'utf8',
    })
    return stdout
      .split('\n')
      .flatMap(path => /^\/proc\/(\d+)\//.exec(path)?.[1] ?? [])
      .map(pid => ({
        pid: Number(pid),
        command: spawnSync('tr', ['\\0', ' '], {
          input: spawnSync('cat', [`/proc/${pid}/cmdline`]).stdout,
        }).stdout.toString(),
      }))
      .filter(({ command }) => command !== '')
  }

  // the real client where there is one; else what it does against such a socket
  const client = spawnSync('sh', ['-c', 'command -v docker'], { encoding: 'utf8' }).stdout.trim()
  const connects = `context*) echo unix://$MACULA_TEST_SOCKET;; *) exec node -e 'require("net").connect(process.env.MACULA_TEST_SOCKET)';;`
  const socket = () => join(tasks.folder, 'hanging.sock')
  interface Engine {
    docker: string
    env?: () => NodeJS.ProcessEnv
    /** What the error says of the engine. */
    named: RegExp
    /** Whether a task may do its work without an engine that is known not to run. */
    canDoWithout: boolean
  }
  const engines: Record<string, Engine> = {
    'a client that hangs and ignores SIGTERM': {
      docker: `*) trap '' TERM INT HUP; (trap '' TERM INT HUP; sleep 300) & while :; do sleep 1; done;;`,
      named: /Docker/,
      canDoWithout: false,
    },
    'an engine that accepts and never answers': {
      docker: client === '' ? connects : `*) exec ${client} "$@";;`,
      env: () => ({ DOCKER_HOST: `unix://${socket()}`, MACULA_TEST_SOCKET: socket() }),
      named: /hanging\.sock/,
      canDoWithout: false,
    },
    'an engine that refuses': {
      docker: `*) echo 'Cannot connect to the Docker daemon at unix:///nowhere.sock. Is the docker daemon running?' >&2; exit 1;;`,
      named: /Docker/,
      canDoWithout: true,
    },
    'an engine that dies half way': {
      docker: `version*) echo 29.10.0;; info*) echo '/var/lib/docker engine=29.10.0 compose=5.6.0';; 'compose version --short') echo 5.6.0;; *) echo 'error during connect: Get "http://%2Fnowhere.sock/v1.51/containers/json": EOF' >&2; exit 1;;`,
      named: /./,
      canDoWithout: true,
    },
  }
  for (const [engine, { docker, env, named, canDoWithout }] of Object.entries(engines)) {
    it(`${engine}: is named within 15 s, and no process outlives the task`, async () => {
      await tasks.docker(docker)
      const problems: string[] = []
      const slow = slowness()
      const limit = namedLimitSeconds * slow
      let [slowest, longest, alive] = [0, 0, 0]
      const left = [...names]
      const next = async (): Promise<void> => {
        const name = left.shift()
        if (name === undefined) return
        const ending = await endingOf(name, slow, { ...tasks.environment, ...env?.() })
        slowest = Math.max(slowest, ending.seconds)
        longest = Math.max(longest, ending.lasted)
        alive += ending.alive.length
        countFaults('processes that outlive a task whose engine fails', 1, ending.alive.length > 0 ? 1 : 0)
        const shown = `${name} (exit ${ending.exitCode}, ${ending.seconds.toFixed(1)} s)\n${ending.stderr}`
        if (ending.alive.length > 0) problems.push(`left alive: ${ending.alive.join(' · ')} by ${shown}`)
        if (!withoutEngine.includes(name) && ending.seconds > limit) problems.push(`too late: ${shown}`)
        if (/internal error/.test(ending.stderr)) problems.push(`stack trace: ${shown}`)
        const needsEngine = ![...withoutEngine, ...early].includes(name) && !(canDoWithout && ending.exitCode === 0)
        if (needsEngine && !named.test(ending.stderr)) problems.push(`not named: ${shown}`)
        return next()
      }
      await Promise.all(Array.from({ length: atOnce }, next))
      leftAlive += alive
      rows.push([engine, String(names.length), slowest.toFixed(1), longest.toFixed(2), String(alive)])
      assert.equal(problems.join('\n\n'), '')
    })
  }
})
