import { PlatformError } from '../system/errors.ts'
import { applicationsNamespace, type Cluster } from './cluster.ts'
import { kubectlHint, kubectlOn } from './kubectl.ts'

/** What deploying needs permission for, all of it in the applications' namespace. */
const needed = ['deployments.apps', 'services', 'ingresses.networking.k8s.io', 'configmaps', 'secrets', 'pods']

/** Throws unless an existing cluster answers under its context and gives this user the permissions to deploy applications. */
export async function requireContext(cluster: Cluster): Promise<'unchanged'> {
  await Promise.all(
    needed.map(async resource => {
      const verb = resource === 'pods' ? 'list' : 'create'
      const kubectl = kubectlOn(cluster, { nothrow: true })
      const result = await kubectl`auth can-i ${verb} ${resource} --namespace ${applicationsNamespace}`
      if (result.exitCode !== 0)
        throw new PlatformError(`${cluster.context} does not let you ${verb} ${resource} in ${applicationsNamespace}`, {
          why: result.stderr.trim() || result.stdout.trim(),
          hint: `${kubectlHint(cluster)} auth can-i --list --namespace ${applicationsNamespace}`,
        })
    }),
  )
  return 'unchanged'
}

/** What the deploy steps will do to an existing cluster, for a person to agree to. */
export function plannedChanges(cluster: Cluster, applications: readonly string[]): string[] {
  return [
    `context    ${cluster.context}`,
    `namespace  ${applicationsNamespace} (created where it is missing; nothing else is touched)`,
    `images     ${cluster.imagePrefix}/…`,
    `deploys    ${applications.join(', ')}: a Deployment, a Service and an Ingress each, and a TLS secret`,
  ]
}
