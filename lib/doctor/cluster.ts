import { findCluster, foreignError } from '../cluster/ownership.ts'
import { requireCgroupFor, requireKindProgram, requireKubectl } from '../cluster/versions.ts'
import type { Platform } from '../platform/platform.ts'
import { releases, type ToolName } from '../supply/releases.ts'
import { type Check, type Finding, findingOf } from './finding.ts'

/**
 * The programs of the cluster, and whether somebody else has a cluster of its name. Warnings only: without a cluster everything else still works, and
 * its own steps refuse.
 */
export function clusterCheck(platform: Platform): Check {
  const { settings } = platform
  const image = settings.KIND_NODE_IMAGE
  const programs: [ToolName, () => Promise<string>][] = [
    ...(settings.CLUSTER === 'kind'
      ? [['kind', () => requireKindProgram(image)] as [ToolName, () => Promise<string>]]
      : []),
    ['kubectl', () => requireKubectl()],
  ]
  const missed = (name: ToolName, error: unknown) =>
    settings.CLUSTER_TOOLS === 'install'
      ? ok(name, `${releases[name].version}, which setup-cluster will install`)
      : later(name, error)
  return {
    name: 'Cluster',
    async look() {
      const found = await Promise.all(
        programs.map(([name, requireProgram]) =>
          requireProgram().then(
            detail => ok(name, detail),
            error => missed(name, error),
          ),
        ),
      )
      if (settings.CLUSTER !== 'kind') return found
      const control = await requireCgroupFor(image).then(
        () => [],
        error => [later('cgroups', error)],
      )
      // an engine that does not answer is reported by its own check
      const { foreign } = await findCluster(platform).catch(() => ({ foreign: undefined }))
      const others = foreign === undefined ? [] : [later('KinD cluster', foreignError(foreign, platform.paths))]
      return [...found, ...control, ...others]
    },
  }
}

const ok = (check: string, detail: string): Finding => ({ check, state: 'ok', detail })
const later = (check: string, error: unknown): Finding => ({ ...findingOf(check, error), state: 'warn' })
