import { join } from 'node:path'
import type { Platform } from '../platform/platform.ts'
import { toolsFolder } from '../platform/settings.ts'

/** Where applications run, and how it is reached. */
export interface Cluster {
  kind: 'kind' | 'existing'
  name: string
  /** Given to every kubectl call, so that the user's current context never matters. */
  context: string
  /** A file of our own; undefined for an existing cluster, which the user's own files know. */
  kubeconfig: string | undefined
  /** What a person types to call kubectl: its name, or where ours is. */
  kubectl: string
  /** What images are called when they are pushed and pulled: `localhost:5001/macula`. */
  imagePrefix: string
}

/** The applications' namespace; the only one that is touched on an existing cluster. */
export const applicationsNamespace = 'macula'
/** Holds what pods need to reach the services beside the cluster. */
export const platformNamespace = 'macula-platform'
export const ingressNamespace = 'ingress'
/** Holds what reads logs, metrics and events of the cluster. */
export const collectorNamespace = 'macula-collector'
/** Labels of what is ours in the cluster; templates/apps/_common gives them to all objects of the applications. */
export const ownLabels = { 'app.kubernetes.io/part-of': 'macula' }
/** Name of the TLS secret in each namespace that has Ingresses. */
export const tlsSecret = 'macula-tls'

/** The cluster of these settings; whether it exists is another question. */
export function clusterOf({ settings, paths }: Platform): Cluster {
  const kubectl = settings.CLUSTER_TOOLS === 'install' ? join(toolsFolder(paths), 'kubectl') : 'kubectl'
  if (settings.CLUSTER === 'existing') {
    return {
      kind: 'existing',
      name: settings.CLUSTER_CONTEXT,
      context: settings.CLUSTER_CONTEXT,
      kubeconfig: undefined,
      kubectl,
      imagePrefix: settings.REGISTRY,
    }
  }
  return {
    kind: 'kind',
    name: settings.CLUSTER_NAME,
    context: `kind-${settings.CLUSTER_NAME}`,
    kubeconfig: join(paths.stateDir, 'kubeconfig'),
    kubectl,
    imagePrefix: `${registryHost(settings)}/macula`,
  }
}

/**
 * Our registry as image names spell it. Docker takes loopback addresses, and `localhost` as their name, for registries without TLS;
 * any other name would need a change of the engine's own settings.
 */
export function registryHost(settings: { MACULA_LOOPBACK: string; REGISTRY_PORT: string }): string {
  const host = settings.MACULA_LOOPBACK === '127.0.0.1' ? 'localhost' : settings.MACULA_LOOPBACK
  return `${host}:${settings.REGISTRY_PORT}`
}

/** First labels of the applications' names, which are the names of everything that belongs to them. */
export function applicationNames(platform: Platform): string[] {
  return platform.applications.names.map(name => name.slice(0, -platform.domain.length - 1))
}

/** Folder of the rendered and recorded files of the cluster. */
export function clusterFolder({ paths }: Platform): string {
  return join(paths.stateDir, 'cluster')
}

/** Why a step that is about the KinD cluster has nothing to do with these settings; undefined where it has. */
export function notInCharge({ settings }: Platform): string | undefined {
  if (settings.CLUSTER === 'kind') return undefined
  return `CLUSTER=existing: this task does not change ${settings.CLUSTER_CONTEXT}. Next: task build-and-push && task deploy-apps`
}
