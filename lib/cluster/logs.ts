import type { Platform } from '../platform/platform.ts'
import { applicationNames, applicationsNamespace, clusterOf, ingressNamespace } from './cluster.ts'
import { kubectlOn } from './kubectl.ts'

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
  const namespace = ofIngress ? ingressNamespace : applicationsNamespace
  const selector = `app.kubernetes.io/name=${ofIngress ? 'ingress-controller' : name}`
  // kubectl counts -1 as all, and shows ten lines of each where it selects by label
  const lines = ['--tail', tail === 'all' ? '-1' : tail, ...(follow ? ['--follow'] : [])]
  await kubectlOn(clusterOf(platform), {
    inherit: true,
  })`logs --namespace ${namespace} --selector ${selector} --prefix ${lines}`
}
