import { dashboard } from './dashboard.ts'
import { alerts, logs, promql, rate, series, stat } from './panels.ts'
import { upOrDown } from './parts.ts'

/** Share of the engine's disk that is used; what is reserved for root counts for nobody, as in the alert DiskAlmostFull. */
const diskUsed = `sum(system_filesystem_usage_bytes{job="machine", state="used"}) / sum(system_filesystem_usage_bytes{job="machine", state=~"used|free"})`

export const platform = dashboard({
  uid: 'macula-overview',
  title: 'Platform',
  question: 'Is the platform well?',
  rows: [
    [
      stat('Alerts', 'How many alerts fire. 0 is good.', promql('count(ALERTS{alertstate="firing"}) or vector(0)'), {
        unit: 'none',
        steps: ['green', [1, 'red']],
      }),
      stat(
        'Not answering',
        'Services and applications that Prometheus could not scrape at its last try.',
        promql('count(up == 0) or vector(0)'),
        {
          unit: 'none',
          steps: ['green', [1, 'red']],
        },
      ),
      stat(
        'Disk used',
        'Of the file system that holds the containers and volumes. At nine tenths an alert fires.',
        promql(diskUsed),
        {
          unit: 'percentunit',
          steps: ['green', [0.8, 'orange'], [0.9, 'red']],
        },
      ),
      stat(
        'Certificate',
        'Until the certificate of the applications ends; task deploy-apps renews it.',
        promql('min(macula_certificate_end_seconds) - time()'),
        {
          unit: 's',
          steps: ['red', [14 * 24 * 3600, 'green']],
        },
      ),
      stat(
        'Restarts',
        'Of containers, by the engine, since somebody last started them.',
        promql('sum(macula_container_restarts)'),
        {
          unit: 'none',
          steps: ['green', [1, 'orange'], [5, 'red']],
        },
      ),
    ],
    [
      stat(
        'Services',
        'Whether Prometheus could scrape each at its last try.',
        promql('sort_desc(min by (job) (up))', { legend: '{{job}}' }),
        { ...upOrDown, height: 9 },
      ),
      alerts(
        'Alerts',
        "What fires or is about to, by Prometheus' rules: the same that the portal and `task status` show.",
        9,
      ),
    ],
    [
      series(
        'Processor',
        'Of each container; 1 = one processor busy all the time.',
        promql(`sum by (service) (${rate('macula_container_cpu_seconds_total')})`, { legend: '{{service}}' }),
        { unit: 'none', stacked: true },
      ),
      series(
        'Memory',
        'Of each container, without file cache that can be dropped.',
        promql('sum by (service) (macula_container_memory_bytes)', { legend: '{{service}}' }),
        { unit: 'bytes', stacked: true },
      ),
    ],
    [
      series(
        'Volumes',
        'What each service keeps on disk, measured once a minute.',
        promql('sum by (volume) (macula_volume_bytes)', { legend: '{{volume}}' }),
        { unit: 'bytes', stacked: true },
      ),
      series(
        'Machine',
        'Processes that run or wait to, and share of memory and disk in use.',
        [
          promql('max(system_cpu_load_average_1m{job="machine"})', { legend: 'load, 1 min' }),
          promql(
            'sum(system_memory_usage_bytes{job="machine", state="used"}) / sum(system_memory_usage_bytes{job="machine"})',
            {
              legend: 'memory used',
            },
          ),
          promql(diskUsed, { legend: 'disk used' }),
        ],
        { unit: 'none' },
      ),
    ],
    [
      series(
        'Log lines',
        'That the collector read and sent. Between the two lies what waits in its queue.',
        [
          promql(`sum(${rate('otelcol_receiver_accepted_log_records_total')})`, { legend: 'read' }),
          promql(`sum(${rate('otelcol_exporter_sent_log_records_total')})`, { legend: 'sent' }),
        ],
        { unit: 'cps' },
      ),
      series(
        "Collector's queue",
        'Batches that wait for a store, of those that fit. At half an alert fires.',
        promql('max by (exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)', {
          legend: '{{exporter}}',
        }),
        {
          unit: 'percentunit',
          max: 1,
        },
      ),
      series(
        'Series in Prometheus',
        'That it has in memory. It grows with what is scraped, not with time.',
        promql('sum(prometheus_tsdb_head_series)', { legend: 'series' }),
        { unit: 'short' },
      ),
    ],
    [
      logs(
        'Errors in the logs',
        'The last lines of services and applications whose level is error or worse.',
        '{service_name=~".+"} | detected_level=~"error|critical|fatal"',
      ),
    ],
  ],
})
