import { dashboard } from './dashboard.ts'
import { logql, logs, promql, rate, series, stat } from './panels.ts'
import { answers, processor } from './parts.ts'

/** A line of its log, taken apart as nginx.conf's log_format writes it. */
const requests = '{service_name="nginx"} | pattern `<_> <host> "<method> <path> <_>" <status> <bytes> <seconds>`'

export const nginx = dashboard({
  uid: 'macula-nginx',
  title: 'nginx',
  question: 'Do the pages of the platform answer under their names?',
  rows: [
    [
      answers('nginx'),
      stat('Connections', 'Open ones, those that wait included.', promql('sum(nginx_connections_active)'), {
        unit: 'none',
      }),
      stat(
        'Certificate',
        'Until each ends; task deploy-apps renews that of the applications.',
        promql('min by (name) (macula_certificate_end_seconds) - time()', { legend: '{{name}}' }),
        { unit: 's', steps: ['red', [14 * 24 * 3600, 'green']] },
      ),
    ],
    [
      series(
        'Connections',
        'By what they do.',
        [
          promql('sum(nginx_connections_reading)', { legend: 'a request is read' }),
          promql('sum(nginx_connections_writing)', { legend: 'an answer is written' }),
          promql('sum(nginx_connections_waiting)', { legend: 'idle' }),
        ],
        { unit: 'none', stacked: true },
      ),
      series(
        'New connections',
        'Of clients, and of nginx to services.',
        promql(`sum(${rate('nginx_connections_total')})`, { legend: 'connections' }),
        { unit: 'ops' },
      ),
      processor('nginx', 'nginx'),
    ],
    { heading: 'From its log' },
    [
      series('Requests', 'By name.', logql(`sum by (host) (rate(${requests} [$__auto]))`, '{{host}}'), {
        unit: 'reqps',
      }),
      series(
        'Status',
        'From 500 on the service behind it failed.',
        logql(`sum by (status) (rate(${requests} [$__auto]))`, '{{status}}'),
        { unit: 'reqps' },
      ),
      series(
        'Duration',
        '95th percentile, by name.',
        logql(`quantile_over_time(0.95, ${requests} | unwrap seconds [$__auto]) by (host)`, '{{host}}'),
        { unit: 's' },
      ),
    ],
    [logs('Failed requests', 'With status 500 or more.', `${requests} | status >= 500`)],
  ],
})
