import type { Platform } from '../platform/platform.ts'
import { applicationNames, applicationsNamespace, clusterOf, ingressNamespace } from './cluster.ts'
import { kubectlOn } from './kubectl.ts'

/** What in the cluster has logs: the applications, and the ingress. */
export function loggedInCluster(platform: Platform): string[] {
  return [...applicationNames(platform), 'ingress']
}

/** The last lines of an application or of the ingress; what kubectl says where there are none to be had. */
export async function clusterLogLines(platform: Platform, name: string, count: number): Promise<string[]> {
  const { namespace, selector } = podsOf(name)
  const options = { nothrow: true, timeout: '5s' } as const
  const kubectl = kubectlOn(clusterOf(platform), options)
  return (await kubectl`logs --namespace ${namespace} --selector ${selector} --tail ${count}`).stdall.split('\n')
}

function podsOf(name: string): { namespace: string; selector: string } {
  const ofIngress = name === 'ingress'
  return {
    namespace: ofIngress ? ingressNamespace : applicationsNamespace,
    selector: `app.kubernetes.io/name=${ofIngress ? 'ingress-controller' : name}`,
  }
}

/** Shows at this terminal what the pods of an application or of the ingress have printed; with `follow`, until it is interrupted. */
export async function showClusterLogs(
  platform: Platform,
  name: string,
  { tail, follow }: { tail: string; follow: boolean },
): Promise<void> {
  const { namespace, selector } = podsOf(name)
  // kubectl counts -1 as all, and shows ten lines of each where it selects by label
  const lines = ['--tail', tail === 'all' ? '-1' : tail, ...(follow ? ['--follow'] : [])]
  await kubectlOn(clusterOf(platform), {
    inherit: true,
  })`logs --namespace ${namespace} --selector ${selector} --prefix ${lines}`
}
