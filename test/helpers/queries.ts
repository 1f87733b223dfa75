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
  instant?: boolean
  exemplar?: boolean
  datasource: { uid: keyof typeof languages }
}

interface DataSource {
  jsonData: {
    tracesToLogsV2?: { query?: string }
    tracesToMetrics?: { queries?: { name: string; query: string }[] }
  }
}

/** A query of a panel. */
export interface PanelQuery extends Query {
  /** The dashboard's title. */
  dashboard: string
  panel: string
  /** As it is written, with its variables. */
  written: string
  /** One value for each series, now. */
  instant: boolean
  exemplar: boolean
}

interface Dashboard {
  uid: string
  title: string
  panels: { type: string; title: string; targets?: Target[] }[]
  templating: { list: { name: string; allValue?: string; query: unknown }[] }
}

function dashboardsIn(files: readonly RenderedFile[]): Dashboard[] {
  const dashboards = files.filter(({ path }) => /^config\/grafana\/dashboards\/.*\.json$/.test(path))
  return dashboards.map(({ content }) => JSON.parse(content) as Dashboard)
}

/** Every query of the dashboards. */
export function queriesOfPanels(files: readonly RenderedFile[]): PanelQuery[] {
  return dashboardsIn(files).flatMap(({ uid, title, panels, templating }) => {
    // all of them, where somebody may choose; nothing, where somebody may type
    const chosen = templating.list.map(({ name, allValue = '' }) => [name, allValue] as const)
    return panels.flatMap(panel =>
      (panel.targets ?? []).flatMap(({ expr, query, datasource, instant = false, exemplar = false }) => {
        const written = expr ?? query
        if (written === undefined) return []
        const text = filled(written, chosen)
        const where = `${uid}: ${panel.title}`
        const language = languages[datasource.uid]
        return [{ language, text, where, dashboard: title, panel: panel.title, written, instant, exemplar }]
      }),
    )
  })
}

/** Panels that show something without a query of ours. */
export function panelsWithoutQuery(
  files: readonly RenderedFile[],
): { dashboard: string; panel: string; type: string }[] {
  return dashboardsIn(files).flatMap(({ title, panels }) =>
    panels
      .filter(({ type, targets = [] }) => type !== 'row' && targets.every(({ expr, query }) => !(expr ?? query)))
      .map(({ type, title: panel }) => ({ dashboard: title, panel, type })),
  )
}

/** Every query of the dashboards, and those that the data sources make out of a trace. */
export function queriesIn(files: readonly RenderedFile[]): Query[] {
  const ofPanels = queriesOfPanels(files)
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

/** As Grafana fills its variables in, those of a dashboard among them; `$$` in a provisioned file is a dollar sign. */
function filled(text: string, variables: readonly (readonly [name: string, value: string])[] = []): string {
  return variables
    .reduce((text, [name, value]) => text.replaceAll(`$${name}`, value), text)
    .replaceAll('$$', '$')
    .replaceAll(/\$(__rate_interval|__interval|__auto|__range)\b/g, '1m')
    .replaceAll(/\$\{__tags\}|\$__tags\b/g, 'service_name="console"')
    .replaceAll(/\$\{__(trace|span)\.\w+\}/g, '0af7651916cd43dd8448eb211c80319c')
}
