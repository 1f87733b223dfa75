import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { run } from './run.ts'

/** Set in the process that runs in a network of its own. */
const marker = 'MACULA_TEST_NETWORK'

/** Whether this process runs in a network of its own, where it may do what it likes. */
export const inOwnNetwork = process.env[marker] === '1'

/** Why networks of one's own cannot be had here; undefined where they can. */
export function whyNoNetwork(): string | undefined {
  const probe = spawnSync('unshare', ['--net', '--mount', '--pid', '--fork', '--mount-proc', 'true'], {
    encoding: 'utf8',
  })
  return probe.status === 0 ? undefined : `needs root and unshare: ${probe.error?.message ?? probe.stderr.trim()}`
}

/**
 * Runs a test file once more, in network, mount and process namespaces of its own that vanish with it, and throws with its output when it
 * fails. Only `lo` is there, and up.
 */
export function runInOwnNetwork(file: string, timeoutMs: number): void {
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    [
      ...['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private'],
      ...['sh', '-c', 'ip link set lo up && exec "$@"', 'sh'],
      ...[process.execPath, '--import', 'tsx', '--test', '--test-reporter', 'spec', fileURLToPath(file)],
    ],
    { encoding: 'utf8', timeout: timeoutMs, killSignal: 'SIGKILL', env: { ...environment, [marker]: '1' } },
  )
  if (status !== 0) throw new Error(`ended with ${status}\n${stdout}\n${stderr}`)
}

/** Gives this network a way out, with a default route, that leads nowhere; returns how many packets have been sent into it. */
export async function addWayOut(): Promise<() => Promise<number>> {
  await run(['ip', 'link', 'add', 'outside', 'type', 'veth', 'peer', 'name', 'nowhere'])
  await run(['ip', 'link', 'set', 'nowhere', 'up'])
  await run(['ip', 'link', 'set', 'outside', 'up'])
  await run(['ip', 'address', 'add', '192.0.2.1/24', 'dev', 'outside'])
  await run(['ip', 'route', 'add', 'default', 'via', '192.0.2.2'])
  // nobody answers for the gateway: its address is given, so that packets really leave
  await run(['ip', 'neighbour', 'add', '192.0.2.2', 'lladdr', '02:00:00:00:00:02', 'dev', 'outside'])
  // the kernel announces itself by IPv6 on its own
  await run(['sysctl', '-qw', 'net.ipv6.conf.outside.disable_ipv6=1'])
  return async () =>
    Number(
      await readFile('/proc/self/net/dev', 'utf8').then(text => /outside:(.*)/.exec(text)?.[1]?.trim().split(/\s+/)[9]),
    )
}

/** Gives this network a bridge with `address`/16 and further addresses on it, in the place of containers. */
export async function addBridge(name: string, address: string, others: readonly string[]): Promise<void> {
  await run(['ip', 'link', 'add', name, 'type', 'bridge'])
  await run(['ip', 'address', 'add', `${address}/16`, 'dev', name])
  for (const other of others) await run(['ip', 'address', 'add', `${other}/32`, 'dev', name])
  await run(['ip', 'link', 'set', name, 'up'])
}
