import type { Service } from '../../platform/platform.ts'

/**
 * What Prometheus scrapes, in its file_sd format: one target per service that has metrics, called by its name on the containers' network.
 * The job is the service, so that `up{job="grafana"}` is what it seems to be.
 */
export function scrapeTargets(services: readonly Service[]): string {
  const groups = services.flatMap(({ name, group, metrics }) =>
    metrics === undefined
      ? []
      : [{ targets: [`${name}:${metrics.port}`], labels: { job: name, group, __metrics_path__: metrics.path } }],
  )
  return `${JSON.stringify(groups, null, 2)}\n`
}
