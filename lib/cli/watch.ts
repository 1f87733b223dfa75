import { emitKeypressEvents, type Key } from 'node:readline'
import type { ReadStream, WriteStream } from 'node:tty'
import { stripVTControlCharacters, styleText } from 'node:util'
import type { ClusterRow } from '../cluster/cluster-status.ts'
import { type Alerts, alertsLine, isQuiet } from '../stack/alerts.ts'
import { isWell, type ServiceStatus } from '../stack/status.ts'
import { elapsed, table } from '../system/text.ts'

/** What a screen shows: the platform as it was seen a moment ago. */
export interface View {
  services: readonly ServiceStatus[]
  cluster: readonly ClusterRow[]
  alerts: Alerts | undefined
  /** Last lines of what is not well. */
  logs: readonly { name: string; lines: readonly string[] }[]
}

/** What can be selected: a service, or a part of the cluster. */
export interface Item {
  name: string
  url: string
  /** Undefined for what is in the cluster. */
  service: ServiceStatus | undefined
  state: string
}

/** One line of the screen; the style is of the whole line. */
export interface Line {
  text: string
  style?: Parameters<typeof styleText>[0]
}

export interface Screen {
  columns: number
  rows: number
  /** Index among the items. */
  selected: number
  /** What is said beside the keys: a question, or what the last key did. */
  message: string
}

/** Services first, in the order they are shown in. */
export function itemsOf({ services, cluster }: Pick<View, 'services' | 'cluster'>): Item[] {
  return [
    ...services.map(service => ({ name: service.name, url: service.url, service, state: service.state })),
    ...cluster.map(({ name, url, state }) => ({ name, url, service: undefined, state })),
  ]
}

const keys = '↑↓ select   o open page   l logs   r restart   q quit'

/** The overview, cut to the screen: the selected line and the keys are always on it. */
export function overviewLines(view: View, { columns, rows, selected, message }: Screen, now: Date): Line[] {
  const { title, head, items, below } = overview(view, selected, now)
  const room = Math.max(1, rows - 3)
  // scrolled so far that the selected line is on the screen
  const from = Math.max(0, selected - room + 1)
  const body = [...items.slice(from), ...below].slice(0, room)
  return cut([title, head, ...body], { text: message || keys }, { columns, rows })
}

/** The same as text, for a pipe. */
export function overviewText(view: View, now: Date): string {
  const { title, head, items, below } = overview(view, -1, now)
  return [title, head, ...items, ...below].map(({ text }) => plain(text).trimEnd()).join('\n')
}

function overview({ services, cluster, alerts, logs }: View, selected: number, now: Date) {
  const rows = [
    ...services.map(({ name, url, address, state, since, standIn, detail }) => {
      const notes = [standIn === 'placeholder' ? standIn : '', isWell({ state }) ? '' : detail].filter(Boolean)
      return [name, url, address, state, elapsed(since, now), notes.join('; ')]
    }),
    ...cluster.map(({ name, url, kind, state, since, detail }) => [
      name,
      url,
      kind,
      state,
      elapsed(since, now),
      isWell({ state }) ? '' : detail,
    ]),
  ]
  const [head = '', ...lines] = table(['NAME', 'URL', 'ADDRESS', 'STATE', 'SINCE', ''], rows).split('\n')
  const states = [...services, ...cluster]
  const items = lines.map((text, index): Line => {
    if (index === selected) return { text: `> ${text}`, style: 'inverse' }
    const { state = '' } = states[index] ?? {}
    return { text: `  ${text}`, ...(isWell({ state }) ? {} : { style: state === 'starting' ? 'yellow' : 'red' }) }
  })
  const line = alertsLine(alerts)
  const below: Line[] = [
    ...(line === undefined
      ? []
      : [{ text: '' }, { text: line, ...(isQuiet(alerts) ? {} : { style: 'red' as const }) }]),
    ...logs.flatMap(({ name, lines }): Line[] => [
      { text: '' },
      { text: `Last lines of ${name}`, style: 'bold' },
      ...lines.map(text => ({ text: `  ${text}` })),
    ]),
  ]
  const well = states.filter(isWell).length
  const title: Line = {
    text: `Macula   ${well} of ${states.length} up   ${now.toTimeString().slice(0, 8)}`,
    style: 'bold',
  }
  return { title, head: { text: `  ${head}`, style: 'dim' } satisfies Line as Line, items, below }
}

/** The last lines of one log, as many as there is room for. */
export function logLines(
  name: string,
  lines: readonly string[],
  { columns, rows }: Pick<Screen, 'columns' | 'rows'>,
): Line[] {
  const last = lines.slice(-Math.max(1, rows - 3)).map(text => ({ text }))
  return cut([{ text: `Log of ${name}`, style: 'bold' }, ...last], { text: 'esc back   q quit' }, { columns, rows })
}

/** The lines above, the footer on the last row, and none longer than the screen is wide. */
function cut(lines: readonly Line[], footer: Line, { columns, rows }: { columns: number; rows: number }): Line[] {
  const above = lines.slice(0, Math.max(1, rows - 1))
  const empty = Array.from({ length: Math.max(0, rows - 1 - above.length) }, () => ({ text: '' }))
  return [...above, ...empty, footer].map(({ text, ...rest }) => ({
    text: plain(text).slice(0, columns),
    ...rest,
  }))
}

/** Without what a log line could move the cursor with, or worse. */
function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is about them
  return stripVTControlCharacters(text).replace(/[\0-\x1f\x7f-\x9f]/g, ' ')
}

/** A terminal that shows whole screens, and says which keys are pressed. `close` leaves it as it was. */
export interface Terminal {
  size(): { columns: number; rows: number }
  draw(lines: readonly Line[]): void
  /** Calls back for each key, Ctrl-C included, and at each change of the size with `undefined`. */
  onKey(listener: (key: string | undefined) => void): void
  close(): void
}

/** Takes a terminal over: its other screen, without a cursor, each key at once. */
export function openTerminal(input: ReadStream, output: WriteStream, color: boolean): Terminal {
  const listeners: ((key: string | undefined) => void)[] = []
  const onKeypress = (_: string | undefined, { name, ctrl, sequence }: Key) => {
    const key = ctrl ? `ctrl-${name}` : (name ?? sequence)
    for (const listener of listeners) listener(key)
  }
  const onResize = () => {
    for (const listener of listeners) listener(undefined)
  }
  emitKeypressEvents(input)
  input.setRawMode(true)
  input.resume()
  input.on('keypress', onKeypress)
  output.on('resize', onResize)
  output.write('\x1b[?1049h\x1b[?25l')
  let isOpen = true
  return {
    size: () => ({ columns: output.columns || 80, rows: output.rows || 24 }),
    draw(lines) {
      if (!isOpen) return
      const painted = lines.map(({ text, style }) =>
        color && style !== undefined ? styleText(style, text, { validateStream: false }) : text,
      )
      output.write(`\x1b[H${painted.map(text => `${text}\x1b[K`).join('\r\n')}\x1b[J`)
    },
    onKey: listener => void listeners.push(listener),
    close() {
      if (!isOpen) return
      isOpen = false
      input.off('keypress', onKeypress)
      output.off('resize', onResize)
      input.setRawMode(false)
      input.pause()
      output.write('\x1b[?25h\x1b[?1049l')
    },
  }
}
