// Panels that several dashboards have.
import { type Panel, promql, rate, series, stat } from './panels.ts'

/** Words and colours for metrics that are 1 where something works. */
export const upOrDown = { states: { 0: ['down', 'red'], 1: ['up', 'green'] } } as const

/** Whether a service answers; its job in Prometheus has its name. */
export function answers(service: string, title = 'Answers'): Panel {
  return stat(
    title,
    'Whether Prometheus could scrape it at its last try.',
    promql(`min(up{job="${service}"})`),
    upOrDown,
  )
}

export function processor(service: string, legend: string): Panel {
  return series(
    'Processor',
    '1 = one processor busy all the time.',
    promql(`sum(${rate(`macula_container_cpu_seconds_total{service="${service}"}`)})`, { legend }),
    { unit: 'none' },
  )
}

/** Bytes that a service takes and gives; the arguments are counters. */
export function traffic(received: string, sent: string): Panel {
  const both = { received, sent }
  return series(
    'Bytes',
    'Received and sent.',
    Object.entries(both).map(([legend, counter]) => promql(`sum(${rate(counter)})`, { legend })),
    { unit: 'Bps' },
  )
}
