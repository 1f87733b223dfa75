import { homedir } from 'node:os'
import { join } from 'node:path'
import { ask, run } from '../exec.ts'
import type { Platform } from '../platform.ts'
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
  return known ? 'unchanged' : 'created'
}

/** Takes our context out of the user's kubeconfig, where --merge-kubeconfig put it. */
export async function removeFromUsers(
  platform: Platform,
  environment: NodeJS.ProcessEnv,
): Promise<'removed' | 'unchanged'> {
  const { context } = clusterOf(platform)
  const config = ['kubectl', '--kubeconfig', usersFile(environment), 'config']
  if ((await ask([...config, 'get-contexts', context, '-o', 'name'])).exitCode !== 0) return 'unchanged'
  // kind calls cluster and user what it calls the context
  const current = (await ask([...config, 'current-context'])).stdout.trim()
  for (const words of [
    ['delete-context', context],
    ['delete-cluster', context],
    ['delete-user', context],
  ])
    await ask([...config, ...words])
  if (current === context) await ask([...config, 'unset', 'current-context'])
  return 'removed'
}
