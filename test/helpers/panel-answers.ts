import type { PanelQuery } from './queries.ts'

/** One request to Prometheus' API. */
export interface Question {
  path: string
  parameters: Record<string, string>
}

type Point = [time: number, value: string]
type Series = { values: Point[] } | { value: Point }

/** What test/helpers/ask-prometheus.mjs prints of each. */
export interface Answer {
  ms: number
  status: string
  error?: string
  data?: { result?: Series[] } | { groups: { rules: { state: string }[] }[] } | { exemplars: unknown[] }[]
}

/** A query with what it returned, or why it was not asked. */
export interface PanelAnswer extends PanelQuery {
  series: number
  points: number
  exemplars: number
  ms: number
  /** Prometheus' words, where it did not take the query. */
  error?: string | undefined
  /** Why nothing can come on this machine. */
  empty?: string | undefined
}

/** Seconds that a graph looks back, and between its points. */
const [span, step] = [300, 15]

/** Why a query has no answer where Grafana, Loki and Tempo cannot be had. The first that fits counts. */
const reasons: readonly (readonly [RegExp, string])[] = [
  [/traces_service_graph/, "Tempo makes the service graph's metrics, and a placeholder stands for it here"],
  [/minio_/, 'another S3 server stands for the object store here, and has no metrics'],
]

/** The reason why this query can have no answer here; undefined for one that has to have one. */
export function reasonOf({ language, text }: Pick<PanelQuery, 'language' | 'text'>): string | undefined {
  if (language === 'logql') return 'Loki is a placeholder here'
  if (language === 'traceql') return 'Tempo is a placeholder here, and keeps no trace'
  return reasons.find(([pattern]) => pattern.test(text))?.[1]
}

/** Asks for all of these, as Grafana would, at this moment. LogQL and TraceQL are not asked. */
export async function answersOf(
  queries: readonly PanelQuery[],
  ask: (questions: Question[]) => Promise<Answer[]>,
  now: number,
): Promise<PanelAnswer[]> {
  const asked = queries.filter(({ language }) => language === 'promql')
  const range = { start: String(now - span), end: String(now) }
  const graphs = await ask(
    asked.map(({ text, instant }) =>
      instant
        ? { path: 'query', parameters: { query: text } }
        : { path: 'query_range', parameters: { query: text, ...range, step: String(step) } },
    ),
  )
  const dots = await ask(
    asked.map(({ text, exemplar }) => ({
      path: 'query_exemplars',
      // nothing has no exemplars
      parameters: { query: exemplar ? text : 'absent_exemplars', ...range },
    })),
  )
  return queries.map(query => {
    const index = asked.indexOf(query)
    const [graph, dot] = [graphs[index], dots[index]]
    const result = graph?.data !== undefined && 'result' in graph.data ? (graph.data.result ?? []) : []
    const lengths = result.map(pointsOf).filter(length => length > 0)
    const found = Array.isArray(dot?.data) ? dot.data : []
    return {
      ...query,
      series: lengths.length,
      points: lengths.reduce((sum, length) => sum + length, 0),
      exemplars: found.reduce((sum, { exemplars }) => sum + exemplars.length, 0),
      ms: graph?.ms ?? 0,
      error: graph?.error,
      empty: reasonOf(query),
    }
  })
}

/** Points that can be drawn: nothing divided by nothing cannot. */
function pointsOf(series: Series): number {
  const points = 'value' in series ? [series.value] : series.values
  return points.filter(([, value]) => value !== 'NaN').length
}

/** Those that have nothing to show, and should. */
export const unexpectedlyEmpty = (answers: readonly PanelAnswer[]) =>
  answers.filter(({ series, error, empty }) => error !== undefined || (series === 0 && empty === undefined))

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ')
const code = (text: string) => (text.includes('`') ? `\`\` ${cell(text)} \`\`` : `\`${cell(text)}\``)
const number = (count: number, word: string) => `${count} ${word}${count === 1 || word === 'series' ? '' : 's'}`

function returned({ instant, series, points, exemplars, exemplar, empty }: PanelAnswer): string {
  if (series === 0) return empty ?? 'nothing'
  const values = instant ? number(series, 'value') : `${number(series, 'series')}, ${number(points, 'point')}`
  return exemplar ? `${values}, ${number(exemplars, 'exemplar')}` : values
}

/** A panel that shows something else than the answer to a query of ours. */
export interface OtherPanel {
  dashboard: string
  panel: string
  /** What it shows. */
  shown: string
  returned: string
}

/** What the panels without a query would show. */
export async function othersOf(
  panels: readonly { dashboard: string; panel: string; type: string }[],
  ask: (questions: Question[]) => Promise<Answer[]>,
): Promise<OtherPanel[]> {
  const [answer] = await ask([{ path: 'rules', parameters: { type: 'alert' } }])
  const groups = answer?.data !== undefined && 'groups' in answer.data ? answer.data.groups : []
  const rules = groups.flatMap(({ rules }) => rules)
  const firing = rules.filter(({ state }) => state === 'firing').length
  return panels.map(({ dashboard, panel, type }) =>
    type === 'alertlist'
      ? {
          dashboard,
          panel,
          shown: "Prometheus' alerting rules",
          returned: `${number(rules.length, 'rule')}, ${firing} firing`,
        }
      : { dashboard, panel, shown: "Tempo's service graph", returned: 'Tempo is a placeholder here' },
  )
}

/** docs/dashboards.md: its first part as it stands, then every panel with its query and what it returned. */
export function report(head: string, answers: readonly PanelAnswer[], others: readonly OtherPanel[]): string {
  const asked = answers.filter(({ language }) => language === 'promql')
  const full = asked.filter(({ series }) => series > 0)
  const slowest = asked.reduce((slow, answer) => (answer.ms > slow.ms ? answer : slow))
  const titles = [...new Set(answers.map(({ dashboard }) => dashboard))]
  const tables = titles.map(title => {
    const rows = answers.filter(({ dashboard }) => dashboard === title)
    const lines = [
      ...rows.map(row => `| ${cell(row.panel)} | ${code(row.written)} | ${returned(row)} |`),
      ...others
        .filter(({ dashboard }) => dashboard === title)
        .map(({ panel, shown, returned }) => `| ${cell(panel)} | ${shown} | ${returned} |`),
    ]
    return [`### ${title}`, '', '| panel | query | returned |', '| --- | --- | --- |', ...lines].join('\n')
  })
  const empty = new Map<string, string[]>()
  for (const { series, empty: why = 'nothing happened that it counts', dashboard, panel } of answers)
    if (series === 0) empty.set(why, [...(empty.get(why) ?? []), `${dashboard}: ${panel}`])
  const reasons = [...empty].map(([why, panels]) => `| ${why} | ${[...new Set(panels)].map(cell).join('; ')} |`)
  return [
    head.trimEnd(),
    '',
    `${asked.length} of the ${answers.length} queries are PromQL; ${full.length} of them returned something. The slowest (${slowest.dashboard}: ${slowest.panel}) took`,
    `${slowest.ms.toFixed(0)} ms, so that no recording rule is needed. Graphs were asked for ${span / 60} minutes with a point every ${step} s.`,
    '',
    ...tables.flatMap(table => [table, '']),
    '## Empty on a machine without Grafana, Loki and Tempo',
    '',
    '[telemetry.md](telemetry.md#what-a-machine-without-grafana-loki-and-tempo-cannot-show) names the check of `task verify` that shows it where they run.',
    '',
    '| why | panels |',
    '| --- | --- |',
    ...reasons,
    '',
  ].join('\n')
}
