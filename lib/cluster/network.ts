import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Paths } from '../platform/settings.ts'
import { ask } from '../system/exec.ts'
import { exists } from '../system/files.ts'

/** The network that kind makes for the nodes of all its clusters, and never removes. */
const network = 'kind'

/** Notes that kind's network was not there before our cluster; otherwise it is somebody else's, too. */
export async function rememberNetwork(paths: Pick<Paths, 'stateDir'>): Promise<void> {
  if ((await ask(['docker', 'network', 'inspect', network])).exitCode === 0) return
  await mkdir(dirname(mark(paths)), { recursive: true })
  await writeFile(mark(paths), '')
}

/** Name of kind's network where it came with our cluster. */
export async function madeNetwork(paths: Pick<Paths, 'stateDir'>): Promise<string | undefined> {
  return (await exists(mark(paths))) ? network : undefined
}

/** Removes kind's network where it came with our cluster and no other cluster is on it. */
export async function removeNetwork(paths: Pick<Paths, 'stateDir'>): Promise<'unchanged' | 'removed'> {
  const ours = await exists(mark(paths))
  // the engine refuses while somebody uses it, which is the answer we want
  if (!ours || (await ask(['docker', 'network', 'rm', network])).exitCode !== 0) return 'unchanged'
  await rm(mark(paths), { force: true })
  return 'removed'
}

function mark({ stateDir }: Pick<Paths, 'stateDir'>): string {
  return join(stateDir, 'cluster', 'made-network')
}
