import { readFile, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Platform } from '../platform/platform.ts'
import type { Paths } from '../platform/settings.ts'
import { ask, run } from '../system/exec.ts'
import { clusterOf } from './cluster.ts'

/** The user's own kubeconfig that kubectl would write to. */
function usersFile(environment: NodeJS.ProcessEnv): string {
  return environment.KUBECONFIG?.split(':').filter(Boolean)[0] ?? join(homedir(), '.kube', 'config')
}

/** Adds our context to the user's kubeconfig, and leaves their current context what it was. Only for those who asked for it. */
export async function mergeIntoUsers(
  platform: Platform,
  environment: NodeJS.ProcessEnv,
): Promise<'created' | 'unchanged'> {
  const file = usersFile(environment)
  const { context, name } = clusterOf(platform)
  const config = ['kubectl', '--kubeconfig', file, 'config']
  const known = (await ask([...config, 'get-contexts', context, '-o', 'name'])).exitCode === 0
  const before = await ask([...config, 'current-context'])
  await run(['kind', 'export', 'kubeconfig', '--name', name, '--kubeconfig', file])
  if (before.exitCode === 0) await run([...config, 'use-context', before.stdout.trim()])
  await writeFile(mark(platform.paths), JSON.stringify({ file, context }))
  return known ? 'unchanged' : 'created'
}

/** Takes our context out of the user's kubeconfig again; only where --merge-kubeconfig put it there. */
export async function removeFromUsers(paths: Pick<Paths, 'stateDir'>): Promise<'removed' | 'unchanged'> {
  const text = await readFile(mark(paths), 'utf8').catch(() => undefined)
  if (text === undefined) return 'unchanged'
  const { file, context } = JSON.parse(text) as { file: string; context: string }
  const config = ['kubectl', '--kubeconfig', file, 'config']
  const current = (await ask([...config, 'current-context'])).stdout.trim()
  // kind calls cluster and user what it calls the context; what is gone already is no failure
  for (const what of ['delete-context', 'delete-cluster', 'delete-user']) await ask([...config, what, context])
  if (current === context) await ask([...config, 'unset', 'current-context'])
  await rm(mark(paths))
  return 'removed'
}

/** Remembers which file was written to, and with what. */
function mark({ stateDir }: Pick<Paths, 'stateDir'>): string {
  return join(stateDir, 'cluster', 'merged-into.json')
}
