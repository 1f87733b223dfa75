import type { Panel, Variable } from './panels.ts'

interface Plan {
  /** Also the name of its file. */
  uid: `macula-${string}`
  title: string
  /** The one question that it answers. */
  question: string
  variables?: readonly Variable[]
  /** Panels of a row share its width; a row may have a heading. */
  rows: readonly (Panel[] | { heading: string })[]
}

export type Dashboard = ReturnType<typeof dashboard>

/** Width of Grafana's grid. */
const full = 24

/** A dashboard as Grafana reads it from a file; its rows lie below each other without a gap. */
export function dashboard({ uid, title, question, variables = [], rows }: Plan) {
  let y = 0
  let id = 0
  const panels = rows.flatMap((row): object[] => {
    const top = y
    if ('heading' in row) {
      y += 1
      id += 1
      return [
        { id, type: 'row', title: row.heading, collapsed: false, gridPos: { x: 0, y: top, w: full, h: 1 }, panels: [] },
      ]
    }
    const w = Math.floor(full / row.length)
    const h = Math.max(...row.map(({ height }) => height))
    y += h
    return row.map(({ height: _, ...panel }, index) => {
      id += 1
      const x = index * w
      // the last takes what the division leaves
      return { id, ...panel, gridPos: { x, y: top, w: index === row.length - 1 ? full - x : w, h } }
    })
  })
  return {
    uid,
    title,
    description: question,
    tags: ['macula'],
    timezone: 'browser',
    schemaVersion: 41,
    editable: true,
    graphTooltip: 1,
    time: { from: 'now-1h', to: 'now' },
    refresh: '10s',
    templating: { list: variables },
    // all of them, by their tag
    links: [
      {
        type: 'dashboards',
        title: 'Macula',
        tags: ['macula'],
        asDropdown: true,
        keepTime: true,
        includeVars: false,
        targetBlank: false,
        icon: '',
        tooltip: '',
        url: '',
      },
    ],
    annotations: { list: [] },
    panels,
  }
}
