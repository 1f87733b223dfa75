import { dashboard } from './dashboard.ts'
import { logs, promql, rate, series, stat } from './panels.ts'
import { answers } from './parts.ts'

const pdns = (...metrics: string[]) => metrics.map(metric => `sum(${rate(`pdns_auth_${metric}`)})`).join(' + ')

export const dns = dashboard({
  uid: 'macula-dns',
  title: 'DNS',
  // dnsmasq, which runs on the machine itself, has no metrics; task status looks at it
  question: 'Does PowerDNS answer for its zones?',
  rows: [
    [
      answers('powerdns', 'PowerDNS'),
      stat('Names', 'That PowerDNS was asked for per second.', promql(pdns('udp_queries', 'tcp_queries')), {
        unit: 'reqps',
      }),
      stat(
        'Failures',
        'Questions per second that PowerDNS answered with SERVFAIL. 0 is good.',
        promql(pdns('servfail_packets')),
        { unit: 'reqps', steps: ['green', [0.001, 'red']] },
      ),
    ],
    [
      series(
        'Questions',
        'Received and answered.',
        [
          promql(pdns('udp_queries', 'tcp_queries'), { legend: 'received' }),
          promql(pdns('udp_answers', 'tcp_answers'), { legend: 'answered' }),
        ],
        { unit: 'reqps' },
      ),
      series(
        'Duration',
        'Average over the last questions.',
        promql('max(pdns_auth_latency) / 1e6', { legend: 'PowerDNS' }),
        { unit: 's' },
      ),
    ],
    [
      series(
        'Answers',
        'By kind: the name is there, is not there, or could not be looked up.',
        [
          promql(pdns('noerror_packets'), { legend: 'found' }),
          promql(pdns('nxdomain_packets'), { legend: 'not there' }),
          promql(pdns('servfail_packets'), { legend: 'failed' }),
        ],
        { unit: 'reqps' },
      ),
      series(
        'Memory',
        'Of PowerDNS and its database, without file cache that can be dropped.',
        promql('sum by (service) (macula_container_memory_bytes{service=~"powerdns|powerdns-db"})', {
          legend: '{{service}}',
        }),
        { unit: 'bytes' },
      ),
    ],
    [logs('Log lines', 'Of PowerDNS, its database and its pages.', '{service_name=~"powerdns.*"}')],
  ],
})
