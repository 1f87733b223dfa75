import { readFile, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ask, run } from '../exec.ts'
import type { Platform } from '../platform.ts'
import { clusterFolder, clusterOf } from './cluster.ts'

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
  await writeFile(mark(platform), file)
  return known ? 'unchanged' : 'created'
}

/** Takes our context out of the user's kubeconfig again; only where --merge-kubeconfig put it there. */
export async function removeFromUsers(platform: Platform): Promise<'removed' | 'unchanged'> {
  const file = await readFile(mark(platform), 'utf8').catch(() => undefined)
  if (file === undefined) return 'unchanged'
  const { context } = clusterOf(platform)
  const config = ['kubectl', '--kubeconfig', file, 'config']
  const current = (await ask([...config, 'current-context'])).stdout.trim()
  // kind calls cluster and user what it calls the context; what is gone already is no failure
  for (const what of ['delete-context', 'delete-cluster', 'delete-user']) await ask([...config, what, context])
  if (current === context) await ask([...config, 'unset', 'current-context'])
  await rm(mark(platform))
  return 'removed'
}

/** Remembers which file was written to. */
function mark(platform: Platform): string {
  return join(clusterFolder(platform), 'merged-into')
}
