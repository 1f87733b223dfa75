import { dashboard } from './dashboard.ts'
import { logs, promql, rate, series, stat } from './panels.ts'
import { answers, processor, traffic } from './parts.ts'

export const objects = dashboard({
  uid: 'macula-objects',
  title: 'Object store',
  question: 'Does the object store answer, and what fills it?',
  rows: [
    [
      answers('minio'),
      stat('Size', 'Of its volume, measured once a minute.', promql('sum(macula_volume_bytes{volume="minio-data"})'), {
        unit: 'bytes',
      }),
      stat(
        'Objects',
        'In all buckets; counted by the store every few minutes.',
        promql('sum(minio_cluster_usage_object_total)'),
        { unit: 'short' },
      ),
      stat('Free', 'What the store may still write.', promql('sum(minio_cluster_capacity_usable_free_bytes)'), {
        unit: 'bytes',
      }),
    ],
    [
      series(
        'Requests',
        'By operation.',
        promql(`sum by (api) (${rate('minio_s3_requests_total')})`, { legend: '{{api}}' }),
        { unit: 'reqps' },
      ),
      series(
        'Errors',
        'Requests answered with a status of 400 or more, by operation.',
        promql(`sum by (api) (${rate('minio_s3_requests_errors_total')})`, { legend: '{{api}}' }),
        { unit: 'reqps' },
      ),
      traffic('minio_s3_traffic_received_bytes', 'minio_s3_traffic_sent_bytes'),
    ],
    [
      processor('minio', 'object store'),
      series(
        'Memory',
        'Without file cache that can be dropped.',
        promql('sum(macula_container_memory_bytes{service="minio"})', { legend: 'object store' }),
        { unit: 'bytes' },
      ),
    ],
    [logs('Log lines', 'Of the object store.', '{service_name="minio"}')],
  ],
})
