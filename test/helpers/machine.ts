import { ensureStandIns } from '../../lib/sandbox/standins.ts'
import { root } from '../../lib/system/checkout.ts'
import { PlatformError } from '../../lib/system/errors.ts'
import type { Result } from '../../lib/system/exec.ts'
import { type MachineEngine, startMachineEngine } from './machine-engine.ts'
import { ensureMachineImage, type MachineKind } from './machine-images.ts'
import { failure, type RunOptions } from './run.ts'

export type MachineRunOptions = Pick<RunOptions, 'input' | 'timeoutMs' | 'env' | 'onLine' | 'signal'>

/** A Debian machine that boots systemd, with its own /etc, units, packages and network, out of everyone's reach. */
export interface Machine {
  kind: MachineKind
  /** Runs a command on it as root, in the checkout; the exit code is an answer. */
  ask(command: readonly string[], options?: MachineRunOptions): Promise<Result>
  /** The same for a command that has to succeed. */
  run(command: readonly string[], options?: MachineRunOptions): Promise<Result>
  /** Standard output of a bash script that has to succeed, trimmed; values reach it as "$1", "$2", … */
  sh(script: string, ...values: string[]): Promise<string>
  /** Runs a task of the checkout on it. */
  task(name: string, ...words: string[]): Promise<Result>
  /** Ends everything on it in order, boots it again, and resolves when it is up. */
  reboot(): Promise<void>
  /** What its network's DNS server was asked since this was last called, as `TYPE name`. */
  upstreamQueries(): Promise<string[]>
  /** The checkout as it is now, once more. */
  copyCheckout(): Promise<void>
  /** Puts stand-ins under these names into the machine's own engine. */
  supplyImages(images: readonly string[]): Promise<void>
  /** Copies a program of this computer to the machine's PATH. */
  bringProgram(file: string, name: string): Promise<void>
  /** Ends it and the engine it runs in; only cached images stay. */
  end(): Promise<void>
}

/** Where the checkout stands on a machine. */
export const checkout = '/opt/macula'
/** The network's DNS server; test/machines/upstream.conf says what it answers. */
export const upstreamAddress = '10.79.0.53'

const network = 'machines'
const machineAddresses = '10.79.0.'
/** Ten seconds on a computer that does nothing else. */
const bootDeadlineMs = 90_000

/**
 * Starts a machine of the kind, up and with the checkout on it. Its name server is `upstreamAddress`, told in the way of its kind.
 * Throws when a unit of it fails. `report` hears what takes long.
 */
export async function startMachine(kind: MachineKind, report: (line: string) => void = () => {}): Promise<Machine> {
  const [machine] = await startMachines([kind], report)
  return machine!
}

/** Starts several machines in one engine; whichever is ended, all are. */
export async function startMachines(
  kinds: readonly MachineKind[],
  report: (line: string) => void = () => {},
): Promise<Machine[]> {
  const engine = await startMachineEngine(report)
  try {
    const { docker, supply } = engine
    const upstream = await ensureMachineImage('upstream', docker, supply)
    await docker(['docker', 'network', 'create', '--subnet', '10.79.0.0/24', network])
    const attach = (address: string) => ['--network', network, '--ip', address]
    await docker(['docker', 'run', '--detach', '--name', 'upstream', ...attach(upstreamAddress), upstream])
    const own = [
      '--privileged',
      '--cgroupns=private',
      '--tmpfs',
      '/tmp',
      '--tmpfs',
      '/run',
      '--volume',
      '/var/lib/docker',
    ]
    const machines: Machine[] = []
    for (const [index, kind] of kinds.entries()) {
      const image = await ensureMachineImage(kind, docker, supply)
      const name = `machine-${index}`
      await docker([
        ...['docker', 'run', '--detach', '--name', name, '--hostname', 'machine', ...own],
        ...[...attach(`${machineAddresses}${10 + index}`), image],
      ])
      machines.push(machineIn(engine, kind, name))
    }
    for (const [index, machine] of machines.entries()) {
      await untilUp(engine, `machine-${index}`)
      await machine.copyCheckout()
    }
    return machines
  } catch (error) {
    await engine.end()
    throw error
  }
}

function machineIn(engine: MachineEngine, kind: MachineKind, container: string): Machine {
  const { docker, askDocker } = engine
  let queriesSeen = 0
  const machine: Machine = {
    kind,
    async ask(command, { env = {}, ...options } = {}) {
      const variables = Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`])
      return askDocker(
        ['docker', 'exec', '--interactive', '--workdir', checkout, ...variables, container, ...command],
        // an open, silent standard input would make a command that reads it wait for ever
        { input: '', ...options },
      )
    },
    async run(command, options) {
      const result = await machine.ask(command, options)
      if (result.exitCode !== 0) throw failure(command, result)
      return result
    },
    async sh(script, ...values) {
      return (await machine.run(['bash', '-c', `set -euo pipefail\n${script}`, 'bash', ...values])).stdout.trim()
    },
    task: (name, ...words) => machine.ask(['node', 'lib/cli/launch.mjs', name, ...words]),
    async reboot() {
      await docker(['docker', 'restart', '--time', '60', container])
      await untilUp(engine, container)
    },
    async upstreamQueries() {
      const { stdout, stderr } = await docker(['docker', 'logs', 'upstream'])
      const all = [...`${stdout}${stderr}`.matchAll(/query\[(\w+)\] (\S+) from/g)].map(
        ([, type, name]) => `${type} ${name}`,
      )
      const fresh = all.slice(queriesSeen)
      queriesSeen = all.length
      return fresh
    },
    async copyCheckout() {
      await docker([
        'bash',
        '-c',
        copyScript,
        root,
        checkout,
        container,
        ...needless.map(path => `--exclude=./${path}`),
      ])
    },
    async supplyImages(images) {
      const options = { ...engine.supply, docker: engine.address, path: process.env.PATH ?? '' }
      const standIns = [...(await ensureStandIns(images, options)).values()]
      await Promise.all(standIns.map(({ outcome }) => outcome))
      const script = 'set -o pipefail; docker save "$@" | docker exec --interactive "$0" docker load --quiet'
      await docker(['bash', '-c', script, container, ...images])
    },
    async bringProgram(file, name) {
      const script = 'docker exec --interactive "$2" sh -c "cat >$1 && chmod 0755 $1" <"$0"'
      await docker(['bash', '-c', script, file, `/usr/local/bin/${name}`, container])
    },
    end: engine.end,
  }
  return machine
}

// `docker cp` does not find paths in containers of an engine in a mount namespace of its own
const copyScript = `
  set -o pipefail
  root=$0 checkout=$1 container=$2; shift 2
  tar --create --directory "$root" "$@" . |
    docker exec --interactive "$container" sh -c 'mkdir -p "$0" && tar --extract --no-same-owner --directory "$0"' "$checkout"`

/** Parts of the checkout that no task needs, or that belong to this computer. */
const needless = [
  ...['.git', '.env', '.macula', 'docker-compose.local.yml', 'kind.local.yaml', 'observability.local'],
  ...['@biomejs', '@typescript', 'typescript', 'playwright-core'].map(name => `node_modules/${name}`),
]

async function untilUp({ askDocker }: MachineEngine, container: string): Promise<void> {
  const deadline = Date.now() + bootDeadlineMs
  for (;;) {
    const state = await askDocker(['docker', 'exec', container, 'systemctl', 'is-system-running', '--wait'])
    if (state.exitCode === 0) return
    const failed = state.stdout.trim() === 'degraded'
    if (failed || Date.now() > deadline) {
      const units = await askDocker(['docker', 'exec', container, 'systemctl', '--failed', '--no-legend', '--plain'])
      throw new PlatformError(
        failed ? 'A unit of the test machine failed' : `The test machine is not up after ${bootDeadlineMs / 1000} s`,
        { why: units.stdout.trim() || state.stderr.trim() || state.stdout.trim() },
      )
    }
    await new Promise(resume => setTimeout(resume, 200))
  }
}
