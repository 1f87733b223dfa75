import type { Platform } from '../platform/platform.ts'
import { run } from '../system/exec.ts'
import { applicationNames, applicationsNamespace, clusterOf, ingressNamespace } from './cluster.ts'
import { kubectlCommand, kubectlEnvironment } from './kubectl.ts'

/** What in the cluster has logs: the applications, and the ingress. */
export function loggedInCluster(platform: Platform): string[] {
  return [...applicationNames(platform), 'ingress']
}

/** Shows at this terminal what the pods of an application or of the ingress have printed; with `follow`, until it is interrupted. */
export async function showClusterLogs(
  platform: Platform,
  name: string,
  { tail, follow }: { tail: string; follow: boolean },
): Promise<void> {
  const ofIngress = name === 'ingress'
  const words = [
    ...['logs', '--namespace', ofIngress ? ingressNamespace : applicationsNamespace],
    ...['--selector', `app.kubernetes.io/name=${ofIngress ? 'ingress-controller' : name}`],
    // kubectl counts -1 as all, and shows ten lines of each where it selects by label
    ...['--prefix', '--tail', tail === 'all' ? '-1' : tail, ...(follow ? ['--follow'] : [])],
  ]
  const cluster = clusterOf(platform)
  await run(kubectlCommand(cluster, words), { inherit: true, env: kubectlEnvironment(cluster) })
}
