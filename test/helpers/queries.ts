import { parse } from 'yaml'
import type { RenderedFile } from '../../lib/platform/render.ts'
import { contentOf } from './example.ts'

/** A query that Grafana sends on our behalf, its own variables filled in. */
export interface Query {
  language: 'promql' | 'logql' | 'traceql'
  text: string
  /** Where it stands. */
  where: string
}

const languages = { prometheus: 'promql', loki: 'logql', tempo: 'traceql' } as const

interface Target {
  expr?: string
  query?: string
  datasource: { uid: keyof typeof languages }
}

interface DataSource {
  jsonData: {
    tracesToLogsV2?: { query?: string }
    tracesToMetrics?: { queries?: { name: string; query: string }[] }
  }
}

/** Every query of the dashboards, and those that the data sources make out of a trace. */
export function queriesIn(files: readonly RenderedFile[]): Query[] {
  const dashboards = files.filter(({ path }) => /^config\/grafana\/dashboards\/.*\.json$/.test(path))
  const ofPanels = dashboards.flatMap(({ path, content }) =>
    (JSON.parse(content) as { panels: { title: string; targets: Target[] }[] }).panels.flatMap(({ title, targets }) =>
      targets.flatMap(({ expr, query, datasource }) => {
        const text = expr ?? query
        const where = `${path.split('/').at(-1)}: ${title}`
        return text === undefined ? [] : [{ language: languages[datasource.uid], text: filled(text), where }]
      }),
    ),
  )
  const { datasources } = parse(contentOf(files, 'config/grafana/datasources/macula.yml')) as {
    datasources: DataSource[]
  }
  const ofSources = datasources.flatMap(({ jsonData: { tracesToLogsV2, tracesToMetrics } }) => [
    ...(tracesToLogsV2?.query
      ? [{ language: 'logql' as const, text: filled(tracesToLogsV2.query), where: 'from a trace to its logs' }]
      : []),
    ...(tracesToMetrics?.queries ?? []).map(({ name, query }) => ({
      language: 'promql' as const,
      text: filled(query),
      where: `from a trace to its metrics: ${name}`,
    })),
  ])
  return [...ofPanels, ...ofSources]
}

/** As Grafana fills its variables in; `$$` in a provisioned file is a dollar sign. */
function filled(text: string): string {
  return text
    .replaceAll('$$', '$')
    .replaceAll(/\$(__rate_interval|__interval|__range)\b/g, '1m')
    .replaceAll(/\$\{__tags\}|\$__tags\b/g, 'service_name="console"')
    .replaceAll(/\$\{__(trace|span)\.\w+\}/g, '0af7651916cd43dd8448eb211c80319c')
}
