import { dashboard } from './dashboard.ts'
import { labelOf, logs, promql, rate, series, stat } from './panels.ts'
import { upOrDown } from './parts.ts'

// the templates of a new database and its own administration are of no interest
const chosen = 'job=~"$server", datname!~"template.*|postgres|"'
const counted = (metric: string) => rate(`${metric}{${chosen}}`)
const database = { legend: '{{job}} {{datname}}' }

export const postgresql = dashboard({
  uid: 'macula-postgresql',
  title: 'PostgreSQL',
  question: 'Do the databases keep up, and what fills them?',
  variables: [labelOf('pg_up', 'job', 'server', 'Server')],
  rows: [
    [
      stat(
        'Answers',
        'Whether each server answers its exporter.',
        promql('min by (job) (pg_up{job=~"$server"})', { legend: '{{job}}' }),
        upOrDown,
      ),
      stat(
        'Connections',
        'Of those that the server allows.',
        promql(
          'sum by (job) (pg_stat_activity_count{job=~"$server"}) / sum by (job) (pg_settings_max_connections{job=~"$server"})',
          { legend: '{{job}}' },
        ),
        {
          unit: 'percentunit',
          steps: ['green', [0.7, 'orange'], [0.9, 'red']],
        },
      ),
      stat(
        'Found in memory',
        'Share of the blocks that needed no disk. Near 1 is good.',
        promql(
          `sum by (job) (pg_stat_database_blks_hit{${chosen}}) / (sum by (job) (pg_stat_database_blks_hit{${chosen}}) + sum by (job) (pg_stat_database_blks_read{${chosen}}))`,
          { legend: '{{job}}' },
        ),
        {
          unit: 'percentunit',
          steps: ['red', [0.8, 'orange'], [0.95, 'green']],
        },
      ),
    ],
    [
      series(
        'Connections',
        'By what they do.',
        promql('sum by (job, state) (pg_stat_activity_count{job=~"$server"})', { legend: '{{job}} {{state}}' }),
        { unit: 'none', stacked: true },
      ),
      series(
        'Transactions',
        'Committed and rolled back.',
        [
          promql(`sum by (job, datname) (${counted('pg_stat_database_xact_commit')})`, {
            legend: '{{job}} {{datname}} committed',
          }),
          promql(`sum by (job, datname) (${counted('pg_stat_database_xact_rollback')})`, {
            legend: '{{job}} {{datname}} rolled back',
          }),
        ],
        { unit: 'ops' },
      ),
      series(
        'Size',
        'Of each database.',
        promql(`sum by (job, datname) (pg_database_size_bytes{${chosen}})`, database),
        { unit: 'bytes' },
      ),
    ],
    [
      series(
        'Rows read',
        'By queries.',
        promql(`sum by (job, datname) (${counted('pg_stat_database_tup_fetched')})`, database),
        { unit: 'rps' },
      ),
      series(
        'Rows written',
        'Inserted, updated and deleted.',
        [
          promql(`sum by (job) (${counted('pg_stat_database_tup_inserted')})`, { legend: '{{job}} inserted' }),
          promql(`sum by (job) (${counted('pg_stat_database_tup_updated')})`, { legend: '{{job}} updated' }),
          promql(`sum by (job) (${counted('pg_stat_database_tup_deleted')})`, { legend: '{{job}} deleted' }),
        ],
        { unit: 'rps' },
      ),
      series(
        'Locks',
        'That are held or waited for.',
        promql(`sum by (job, mode) (pg_locks_count{job=~"$server"}) > 0`, { legend: '{{job}} {{mode}}' }),
        { unit: 'none' },
      ),
    ],
    [
      series(
        'Deadlocks',
        'Transactions that were ended because they waited for each other.',
        promql(`sum by (job, datname) (${counted('pg_stat_database_deadlocks')})`, database),
        { unit: 'ops' },
      ),
      series(
        'Temporary files',
        'Written by queries that did not fit into work_mem.',
        promql(`sum by (job, datname) (${counted('pg_stat_database_temp_bytes')})`, database),
        { unit: 'Bps' },
      ),
      series(
        'Memory',
        'Of the containers of the databases.',
        [
          promql('sum by (service) (macula_container_memory_bytes{service=~"timescaledb|powerdns-db"})', {
            legend: '{{service}}',
          }),
        ],
        { unit: 'bytes' },
      ),
    ],
    [logs('Log lines', 'Of the databases.', '{service_name=~"timescaledb|powerdns-db"}')],
  ],
})
