import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { writeIfChanged } from '../platform/render.ts'
import type { Paths } from '../platform/settings.ts'
import { answerOf } from '../stack/engine.ts'
import { $ } from '../system/exec.ts'
import { exists } from '../system/files.ts'

/** The network that kind creates for the nodes of all its clusters, and never removes. */
const network = 'kind'

/** Records that kind's network was not there before our cluster; otherwise it is somebody else's, too. */
export async function rememberNetwork(paths: Pick<Paths, 'stateDir'>): Promise<void> {
  if ((await networkId()) === undefined) await writeIfChanged(mark(paths), '')
}

/** Records which network came with our cluster, once it is there: another of that name would not be ours. */
export async function rememberNetworkId(paths: Pick<Paths, 'stateDir'>): Promise<void> {
  if ((await readFile(mark(paths), 'utf8').catch(() => undefined)) === '')
    await writeIfChanged(mark(paths), (await networkId()) ?? '')
}

/** Name of kind's network where it came with our cluster. */
export async function madeNetwork(paths: Pick<Paths, 'stateDir'>): Promise<string | undefined> {
  return (await exists(mark(paths))) ? network : undefined
}

/** Removes kind's network where it came with our cluster and no other cluster is on it. */
export async function removeNetwork(paths: Pick<Paths, 'stateDir'>): Promise<'unchanged' | 'removed'> {
  const recorded = await readFile(mark(paths), 'utf8').catch(() => undefined)
  if (recorded === undefined) return 'unchanged'
  // the engine refuses while somebody uses it, which is the answer we want
  const { exitCode } = await $({ nothrow: true })`docker network rm ${recorded || network}`
  if (exitCode !== 0) return 'unchanged'
  await rm(mark(paths), { force: true })
  return 'removed'
}

/** The engine's id of kind's network; undefined where there is none. */
async function networkId(): Promise<string | undefined> {
  const { exitCode, stdout } = await answerOf()`docker network inspect --format '{{.Id}}' ${network}`
  return exitCode === 0 ? stdout.trim() : undefined
}

function mark({ stateDir }: Pick<Paths, 'stateDir'>): string {
  return join(stateDir, 'cluster', 'made-network')
}
