import { dashboard } from './dashboard.ts'
import { logs as lines, logLabel, logql, oneOf, series, typed } from './panels.ts'

// A line without a level has the level "unknown". The text is looked for whatever its case.
const found = '{service_name=~"$service"} | detected_level=~"$level" |~ `(?i)$search`'

export const logs = dashboard({
  uid: 'macula-logs',
  title: 'Logs',
  question: 'What did a service or an application print?',
  variables: [
    logLabel('service_name', 'service', 'Service or application'),
    oneOf('level', 'Level', ['critical', 'fatal', 'error', 'warn', 'info', 'debug', 'trace', 'unknown']),
    typed('search', 'Text'),
  ],
  rows: [
    [
      series(
        'Lines',
        'Found, by service or application.',
        logql(`sum by (service_name) (count_over_time(${found} [$__auto]))`, '{{service_name}}'),
        { unit: 'short', stacked: true },
      ),
      series(
        'Levels',
        'Lines found, by level.',
        logql(`sum by (detected_level) (count_over_time(${found} [$__auto]))`, '{{detected_level}}'),
        { unit: 'short', stacked: true },
      ),
    ],
    [lines('Lines', 'The newest first. A line with a trace id links to its trace.', found, 24)],
  ],
})
