// Panels and variables as Grafana reads them from a file. Only what the dashboards here use: a setting that no dashboard needs has no argument.

/** Units by Grafana's own names. */
export type Unit = 'Bps' | 'bytes' | 'cps' | 'none' | 'ops' | 'percentunit' | 'reqps' | 'rps' | 's' | 'short'
export type Colour = 'blue' | 'green' | 'orange' | 'red' | 'yellow'

const sources = {
  promql: { type: 'prometheus', uid: 'prometheus' },
  logql: { type: 'loki', uid: 'loki' },
  traceql: { type: 'tempo', uid: 'tempo' },
} as const
type DataSource = (typeof sources)[keyof typeof sources]

/** One query of a panel; Grafana tells the queries of a panel apart by their letter. */
export type Target = { datasource: DataSource; refId?: string } & Record<string, unknown>

export interface Panel {
  type: 'alertlist' | 'logs' | 'nodeGraph' | 'stat' | 'table' | 'timeseries'
  title: string
  /** What it shows, and which value is a good one, for the reader of the panel. */
  description: string
  /** In rows of Grafana's grid. */
  height: number
  datasource?: DataSource
  targets: Target[]
  transformations?: { id: string; options: object }[]
  fieldConfig: { defaults: object; overrides: object[] }
  options?: object
}

/** One value for each name, or one alone. `legend` is Grafana's: `{{job}}`. */
interface PromqlOptions {
  legend?: string
  /** Single requests are shown as dots that link to their traces; only the buckets of histograms have them. */
  exemplar?: true
}

/** PromQL. `$__rate_interval` spans at least four of the longest interval in which metrics arrive. */
export function promql(expr: string, { legend = '', exemplar }: PromqlOptions = {}): Target {
  return { datasource: sources.promql, expr, legendFormat: legend, ...(exemplar ? { exemplar } : {}) }
}

/** LogQL: lines, or a number for each step of the time range. */
export function logql(expr: string, legend?: string): Target {
  return {
    datasource: sources.logql,
    expr,
    queryType: 'range',
    ...(legend === undefined ? { maxLines: 200 } : { legendFormat: legend }),
  }
}

/** The rate of a counter, as the panel's time range needs it. */
export const rate = (counter: string) => `rate(${counter}[$__rate_interval])`

/** A quantile of a histogram whose buckets are counters; `by` are the labels that stay. */
export function quantile(share: number, buckets: string, ...by: string[]): string {
  return `histogram_quantile(${share}, sum by (${['le', ...by].join(', ')}) (${rate(buckets)}))`
}

interface Look {
  unit?: Unit
  /** The colour from this value on; the first holds for all below it. */
  steps?: readonly [Colour, ...(readonly [number, Colour])[]]
  /** Words for values. */
  states?: Readonly<Record<number, readonly [word: string, Colour]>>
  /** Where a click on a value goes: title and address. */
  link?: readonly [title: string, url: string]
  min?: number
  max?: number
}

function fieldConfig({ unit, steps, states, link, min, max }: Look, custom?: object, overrides: object[] = []) {
  const [first, ...more] = steps ?? []
  return {
    defaults: {
      ...(unit ? { unit } : {}),
      ...(min === undefined ? {} : { min }),
      ...(max === undefined ? {} : { max }),
      ...(states ? { mappings: [mappingOf(states)] } : {}),
      ...(first
        ? {
            thresholds: {
              mode: 'absolute',
              steps: [{ color: first, value: null }, ...more.map(([value, color]) => ({ color, value }))],
            },
          }
        : {}),
      ...(link ? { links: [{ title: link[0], url: link[1] }] } : {}),
      ...(custom ? { custom } : {}),
    },
    overrides,
  }
}

function mappingOf(states: NonNullable<Look['states']>) {
  const options = Object.entries(states).map(([value, [text, color]]) => [value, { text, color }] as const)
  return { type: 'value', options: Object.fromEntries(options) }
}

/** What every panel that asks a data source has. */
function asking(targets: readonly Target[]) {
  const [first] = targets
  if (first === undefined) throw new Error('A panel without a query')
  return {
    datasource: first.datasource,
    targets: targets.map((target, index) => ({ refId: String.fromCharCode(65 + index), ...target })),
  }
}

/** The newest value of each series in large letters, in the colour of its state. */
export function stat(title: string, description: string, target: Target, look: Look & { height?: number } = {}): Panel {
  const named = target.legendFormat !== ''
  return {
    type: 'stat',
    title,
    description,
    height: look.height ?? 4,
    ...asking([{ ...target, instant: true }]),
    fieldConfig: fieldConfig(look),
    options: {
      colorMode: look.steps || look.states ? 'background' : 'value',
      graphMode: 'none',
      justifyMode: 'center',
      textMode: named ? 'value_and_name' : 'value',
      reduceOptions: { calcs: ['lastNotNull'], values: false, fields: '' },
    },
  }
}

/** Lines over time, with a table of them beside the graph. */
export function series(
  title: string,
  description: string,
  targets: Target | readonly Target[],
  look: Look & { stacked?: true } = {},
): Panel {
  const drawn = { lineWidth: 1, fillOpacity: look.stacked ? 30 : 8, showPoints: 'never' }
  return {
    type: 'timeseries',
    title,
    description,
    height: 8,
    ...asking([targets].flat()),
    fieldConfig: fieldConfig({ min: 0, ...look }, look.stacked ? { ...drawn, stacking: { mode: 'normal' } } : drawn),
    options: {
      legend: { displayMode: 'table', placement: 'bottom', showLegend: true, calcs: ['lastNotNull', 'max'] },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
  }
}

interface Column extends Look {
  /** PromQL; its labels are the rows. */
  expr: string
}

/** A row for each combination of labels, a column for each query. `links` are columns whose values are links. */
export function table(
  title: string,
  description: string,
  columns: Readonly<Record<string, Column>>,
  { link }: { link?: { column: string; title: string; url: string } } = {},
): Panel {
  const all = Object.entries(columns)
  const letters = all.map(([name], index) => [`Value #${String.fromCharCode(65 + index)}`, name] as const)
  const values = all.map(([name, look]) => ({
    matcher: { id: 'byName', options: name },
    properties: Object.entries(fieldConfig(look).defaults).map(([id, value]) => ({ id, value })),
  }))
  const links = link
    ? [
        {
          matcher: { id: 'byName', options: link.column },
          properties: [{ id: 'links', value: [{ title: link.title, url: link.url }] }],
        },
      ]
    : []
  return {
    type: 'table',
    title,
    description,
    height: 9,
    ...asking(all.map(([, { expr }]) => ({ ...promql(expr), instant: true, format: 'table' }))),
    transformations: [
      { id: 'merge', options: {} },
      {
        id: 'organize',
        options: {
          excludeByName: { Time: true },
          indexByName: {},
          renameByName: all.length > 1 ? Object.fromEntries(letters) : { Value: all[0]?.[0] },
        },
      },
    ],
    fieldConfig: fieldConfig({}, undefined, [...values, ...links]),
    options: { showHeader: true, cellHeight: 'sm' },
  }
}

/** Lines of the logs. Opened, a line with a trace id links to the trace. */
export function logs(title: string, description: string, expr: string, height = 10): Panel {
  return {
    type: 'logs',
    title,
    description,
    height,
    ...asking([logql(expr)]),
    fieldConfig: fieldConfig({}),
    options: {
      showTime: true,
      wrapLogMessage: true,
      enableLogDetails: true,
      sortOrder: 'Descending',
      dedupStrategy: 'none',
    },
  }
}

/** Traces that a TraceQL query finds, the newest first. */
export function traces(title: string, description: string, query: string): Panel {
  return {
    type: 'table',
    title,
    description,
    height: 10,
    ...asking([{ datasource: sources.traceql, queryType: 'traceql', query, limit: 20, tableType: 'traces' }]),
    fieldConfig: fieldConfig({}),
  }
}

/** Services as circles, calls between them as lines; Grafana's Tempo makes it of the service graph's metrics in Prometheus. */
export function serviceGraph(title: string, description: string): Panel {
  return {
    type: 'nodeGraph',
    title,
    description,
    height: 10,
    ...asking([{ datasource: sources.traceql, queryType: 'serviceMap' }]),
    fieldConfig: fieldConfig({}),
  }
}

/** The alerts of Prometheus' own rules that fire or are about to. */
export function alerts(title: string, description: string, height: number): Panel {
  return {
    type: 'alertlist',
    title,
    description,
    height,
    targets: [],
    fieldConfig: fieldConfig({}),
    options: {
      // the panel knows data sources by their names
      datasource: 'Prometheus',
      viewMode: 'list',
      groupMode: 'default',
      groupBy: [],
      maxItems: 30,
      // by importance
      sortOrder: 3,
      dashboardAlerts: false,
      alertName: '',
      alertInstanceLabelFilter: '',
      showInactiveAlerts: false,
      stateFilter: { firing: true, pending: true, recovering: true, error: true, noData: false, normal: false },
    },
  }
}

/** A choice at the top of a dashboard; in a query it is `$name`. */
export type Variable = { name: string; type: 'custom' | 'query' | 'textbox' } & Record<string, unknown>

const several = { includeAll: true, multi: true, allValue: '.*', current: { text: 'All', value: '$__all' } }

/** Values of a label of a metric; all of them at first. */
export function labelOf(metric: string, label: string, name: string, title: string): Variable {
  const query = `label_values(${metric}, ${label})`
  return {
    ...{ name, label: title, type: 'query', datasource: sources.promql, definition: query },
    ...{ query: { query, refId: 'A' }, refresh: 2, sort: 1, ...several },
  }
}

/** Values of a label of Loki; all of them at first. */
export function logLabel(label: string, name: string, title: string): Variable {
  return {
    ...{ name, label: title, type: 'query', datasource: sources.logql },
    ...{ query: { label, stream: '', type: 1, refId: 'A' }, refresh: 2, sort: 1, ...several },
  }
}

/** Fixed values; all of them at first. */
export function oneOf(name: string, title: string, values: readonly string[]): Variable {
  return { name, label: title, type: 'custom', query: values.join(','), ...several }
}

/** Text that somebody types. */
export function typed(name: string, title: string): Variable {
  return { name, label: title, type: 'textbox', query: '', current: { text: '', value: '' } }
}
