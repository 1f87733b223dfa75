import { dashboard } from './dashboard.ts'
import { logs, promql, quantile, rate, series, stat } from './panels.ts'
import { answers, traffic } from './parts.ts'

export const registry = dashboard({
  uid: 'macula-registry',
  title: 'Registry',
  question: 'Are images pushed and pulled, and what do they take?',
  rows: [
    [
      answers('registry'),
      stat(
        'Size',
        'Of all images, measured once a minute.',
        promql('sum(macula_volume_bytes{volume="registry-data"})'),
        { unit: 'bytes' },
      ),
      stat('In progress', 'Requests that are being answered.', promql('sum(registry_http_in_flight_requests)'), {
        unit: 'none',
      }),
    ],
    [
      series(
        'Requests',
        'By what is asked for and by status. Checks for layers that are not there yet answer 404.',
        promql(`sum by (method, handler, code) (${rate('registry_http_requests_total')})`, {
          legend: '{{method}} {{handler}} {{code}}',
        }),
        { unit: 'reqps' },
      ),
      series(
        'Duration',
        '95th percentile, by what is asked for.',
        promql(quantile(0.95, 'registry_http_request_duration_seconds_bucket', 'handler'), { legend: '{{handler}}' }),
        { unit: 's' },
      ),
    ],
    [
      series(
        'Storage',
        'What the registry does on its disk.',
        promql(`sum by (action) (${rate('registry_storage_action_seconds_count')})`, { legend: '{{action}}' }),
        { unit: 'ops' },
      ),
      series(
        'Duration on disk',
        '95th percentile, by action.',
        promql(quantile(0.95, 'registry_storage_action_seconds_bucket', 'action'), { legend: '{{action}}' }),
        { unit: 's' },
      ),
      traffic('registry_http_request_size_bytes_sum', 'registry_http_response_size_bytes_sum'),
    ],
    [logs('Log lines', 'Of the registry.', '{service_name="registry"}')],
  ],
})
