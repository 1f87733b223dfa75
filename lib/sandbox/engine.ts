import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SupplyOptions } from '../supply/cache.ts'
import { PlatformError } from '../system/errors.ts'
import { $, hasTool, lastLines } from '../system/exec.ts'
import { exists } from '../system/files.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import { type Namespace, shellInside } from './namespace.ts'
import { type EnginePrograms, ensureEnginePrograms } from './programs.ts'
import type { Store } from './store.ts'

/** First Docker engine that knows `start_interval` of healthchecks and asks only for rights the machine has. */
const oldestEngine = 25
/** An engine is up in 2 s; reading a store full of images and containers after a crash takes longer. */
const startDeadlineMs = 60_000
/** It has no containers then, and ends in under a second. */
const stopDeadlineMs = 30_000
/** Where the engine listens, seen from inside. */
const socket = '/run/docker.sock'
const clientConfig = '/run/macula/docker'
const engineConfig = '/run/macula/daemon.json'

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
  const inside = shellInside(namespace.init, options)
  await inside`ip link set lo up`
  await inside`mkdir -p ${clientConfig}`
  await inside`ln -sfn ${options.programs.cliPlugins} ${clientConfig}/cli-plugins`
  // the machine's own settings are for the machine's own engine
  await inside({ input: '{}\n' })`tee ${engineConfig}`
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
  const inside = shellInside(init, { environment, network })
  const started = await inside`setsid ${command} </dev/null >${store.engineLog} 2>&1 & echo $!`
  // the sandbox's own view of its processes, seen from outside
  const folder = `/proc/${init.pid}/root/proc/${started.stdout.trim()}`
  const answers = async () => (await inside({ nothrow: true, timeout: '10s' })`docker version`).exitCode === 0
  await untilAnswering(store, answers, () => exists(folder))
}

async function stopEngine({ init }: Namespace): Promise<void> {
  const inside = shellInside(init)
  const pid = (await inside`cat /run/docker.pid`.text()).trim()
  await inside`kill ${pid}`
  await waitFor(
    async () => ((await inside({ nothrow: true })`kill -0 ${pid}`).exitCode === 0 ? new NotYet('it runs') : true),
    {
      timeoutMs: stopDeadlineMs,
      pauseMs: 100,
      onTimeout: () => new PlatformError(`The sandbox's Docker engine does not end after ${stopDeadlineMs / 1000} s`),
    },
  )
}

/** Removes every container, volume and network of the engine; images stay, except those that lost their name to a newer one. */
export async function emptyEngine(namespace: Namespace, environment: Record<string, string>): Promise<void> {
  const inside = shellInside(namespace.init, { environment })
  const containers = await inside`docker ps --all --quiet`.lines()
  if (containers.length > 0) await inside({ timeout: '2m' })`docker rm --force --volumes ${containers}`
  await inside`docker volume prune --all --force`
  await inside`docker network prune --force`
  await inside`docker image prune --force`
}

function daemon(store: Store): string[] {
  return [
    'dockerd',
    ...['--config-file', engineConfig],
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
  const failed = async (what: string) =>
    new PlatformError(what, {
      why: lastLines(await readFile(store.engineLog, 'utf8')),
      hint: `cat ${store.engineLog}`,
    })
  const isUp = await waitFor(
    async () => ((await isAnswering()) ? true : (await isRunning()) ? new NotYet('it does not answer') : false),
    {
      timeoutMs: startDeadlineMs,
      pauseMs: 100,
      onTimeout: () => failed(`The sandbox's Docker engine does not answer after ${startDeadlineMs / 1000} s`),
    },
  )
  if (!isUp) throw await failed("The sandbox's Docker engine ended")
}

async function machinePrograms(): Promise<EnginePrograms | undefined> {
  if (!(await hasTool('dockerd')) || !(await hasTool('docker'))) return undefined
  const { stdout } = await $({ nothrow: true })`dockerd --version`
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
