import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SupplyOptions } from '../supply/cache.ts'
import { PlatformError } from '../system/errors.ts'
import { ask, hasTool, lastLines, run } from '../system/exec.ts'
import { commandInside, type Namespace } from './namespace.ts'
import { type EnginePrograms, ensureEnginePrograms } from './programs.ts'
import type { Store } from './store.ts'

/** First Docker engine that knows `start_interval` of healthchecks and asks only for rights the machine has. */
const oldestEngine = 25
/** An engine is up in 2 s; reading a store full of images and containers after a crash takes longer. */
const startDeadlineMs = 60_000
/** Where the engine listens, seen from inside. */
const socket = '/run/docker.sock'
const clientConfig = '/run/macula/docker'

/** The machine's own engine and clients where they are new enough, else Debian's, unpacked into the cache. */
export async function enginePrograms(supply: SupplyOptions): Promise<EnginePrograms> {
  return (await machinePrograms()) ?? ensureEnginePrograms(supply)
}

/** The variables that lead a command inside to the sandbox's engine. */
export function engineEnvironment(programs: EnginePrograms, path: string): Record<string, string> {
  return {
    PATH: [programs.path, path].filter(Boolean).join(':'),
    DOCKER_HOST: `unix://${socket}`,
    DOCKER_CONFIG: clientConfig,
  }
}

/** The engine's address for a client on the machine itself, outside the sandbox. */
export function outsideAddress({ init }: Pick<Namespace, 'init'>): string {
  return `unix:///proc/${init.pid}/root${socket}`
}

export interface EngineOptions {
  store: Store
  programs: EnginePrograms
  /** What `engineEnvironment` says. */
  environment: Record<string, string>
}

/**
 * Starts a Docker engine in the sandbox and waits until it answers. Images of earlier runs are there, containers, volumes and networks are not.
 * Throws with the engine's last words when it does not come up.
 */
export async function startEngine(namespace: Namespace, options: EngineOptions): Promise<void> {
  await forgetRestarts(options.store)
  const prepare = ['bash', '-c', prepareScript, clientConfig, options.programs.cliPlugins]
  await run(commandInside(namespace.init, prepare), { env: options.environment })
  await launchEngine(namespace, options, daemon(options.store))
  await emptyEngine(namespace, options.environment)
}

/**
 * Does `action` while the sandbox's engine has the machine's network instead of the sandbox's, for pulling. In that time it
 * makes no bridge, no firewall rule and no listener, so that nothing of the machine changes. The engine has to be up and empty.
 */
export async function withMachineNetwork(
  namespace: Namespace,
  options: EngineOptions,
  action: () => Promise<void>,
): Promise<void> {
  const aloof = ['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false']
  await stopEngine(namespace)
  await launchEngine(namespace, options, [...daemon(options.store), ...aloof], 'machine')
  try {
    await action()
  } finally {
    await stopEngine(namespace)
  }
  await launchEngine(namespace, options, daemon(options.store))
}

async function launchEngine(
  { init }: Namespace,
  { store, environment }: EngineOptions,
  command: readonly string[],
  network: 'private' | 'machine' = 'private',
): Promise<void> {
  const script = ['bash', '-c', startScript, store.engineLog, ...command]
  const started = await run(commandInside(init, script, '/', network), { env: environment })
  // the sandbox's own view of its processes, seen from outside
  const folder = `/proc/${init.pid}/root/proc/${started.stdout.trim()}`
  const version = commandInside(init, ['docker', 'version'])
  await untilAnswering(
    store,
    async () => (await ask(version, { env: environment, timeoutMs: 10_000 })).exitCode === 0,
    () => stat(folder).then(Boolean, () => false),
  )
}

async function stopEngine({ init }: Namespace): Promise<void> {
  await run(commandInside(init, ['bash', '-c', stopScript]), { timeoutMs: 30_000 })
}

/** Removes every container, volume and network of the engine; images stay, except those that lost their name to a newer one. */
export async function emptyEngine(namespace: Namespace, environment: Record<string, string>): Promise<void> {
  await run(commandInside(namespace.init, ['bash', '-c', emptyScript]), { env: environment, timeoutMs: 60_000 })
}

const prepareScript = `
  ip link set lo up
  mkdir -p "$0" && ln -sfn "$1" "$0/cli-plugins"
  echo '{}' >/run/macula/daemon.json`

const startScript = 'log=$0; setsid "$@" </dev/null >"$log" 2>&1 & echo $!'

const stopScript = `
  engine=$(cat /run/docker.pid)
  kill "$engine"
  while kill -0 "$engine" 2>/dev/null; do sleep 0.1; done`

const emptyScript = `
  set -e
  containers=$(docker ps --all --quiet)
  [ -z "$containers" ] || docker rm --force --volumes $containers
  docker volume prune --all --force
  docker network prune --force
  docker image prune --force`

function daemon(store: Store): string[] {
  return [
    'dockerd',
    // the machine's own settings are for the machine's own engine
    ...['--config-file', '/run/macula/daemon.json'],
    ...['--data-root', store.dataRoot, '--exec-root', '/run/docker', '--pidfile', '/run/docker.pid'],
    ...['--host', `unix://${socket}`],
    // no systemd in here; and containers in a cgroup that is told from all others, so that none is left behind
    ...['--exec-opt', 'native.cgroupdriver=cgroupfs', '--cgroup-parent', `/${store.cgroup}`],
    ...['--shutdown-timeout', '5', '--log-level', 'warn'],
  ]
}

/** An engine starts the containers again that ran when it was killed; these are about to be removed. */
async function forgetRestarts(store: Store): Promise<void> {
  const containers = join(store.dataRoot, 'containers')
  await mkdir(containers, { recursive: true })
  for (const id of await readdir(containers)) {
    const file = join(containers, id, 'hostconfig.json')
    const text = await readFile(file, 'utf8').catch(() => undefined)
    if (text !== undefined)
      await writeFile(file, JSON.stringify({ ...JSON.parse(text), RestartPolicy: { Name: 'no' } }))
  }
}

async function untilAnswering(
  store: Store,
  isAnswering: () => Promise<boolean>,
  isRunning: () => Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + startDeadlineMs
  for (;;) {
    if (await isAnswering()) return
    const running = await isRunning()
    if (!running || Date.now() > deadline) {
      throw new PlatformError(
        running
          ? `The sandbox's Docker engine does not answer after ${startDeadlineMs / 1000} s`
          : "The sandbox's Docker engine ended",
        { why: lastLines(await readFile(store.engineLog, 'utf8')), hint: `cat ${store.engineLog}` },
      )
    }
    await new Promise(resume => setTimeout(resume, 100))
  }
}

async function machinePrograms(): Promise<EnginePrograms | undefined> {
  if (!(await hasTool('dockerd')) || !(await hasTool('docker'))) return undefined
  const { stdout } = await ask(['dockerd', '--version'])
  if (Number(/version (\d+)\./.exec(stdout)?.[1] ?? 0) < oldestEngine) return undefined
  for (const plugins of [
    '/usr/libexec/docker/cli-plugins',
    '/usr/lib/docker/cli-plugins',
    '/usr/local/lib/docker/cli-plugins',
  ]) {
    const files = await readdir(plugins).catch((): string[] => [])
    if (files.includes('docker-compose') && files.includes('docker-buildx')) return { path: '', cliPlugins: plugins }
  }
  return undefined
}
