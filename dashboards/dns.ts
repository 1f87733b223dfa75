import { dashboard } from './dashboard.ts'
import { logs, promql, rate, series, stat } from './panels.ts'
import { answers, upOrDown } from './parts.ts'

const dnsmasq = (metric: string) => rate(`dnsmasq_${metric}`)
const pdns = (...metrics: string[]) => metrics.map(metric => `sum(${rate(`pdns_auth_${metric}`)})`).join(' + ')

export const dns = dashboard({
  uid: 'macula-dns',
  title: 'DNS',
  question: 'Does dnsmasq answer for the names of the platform, and PowerDNS for its zones?',
  rows: [
    [
      stat(
        'dnsmasq',
        'Whether the dnsmasq of this machine answers. No value: what asks it runs on another machine, as with Docker Desktop.',
        promql('max(dnsmasq_up)'),
        upOrDown,
      ),
      stat('Asked of dnsmasq', 'Names per second.', promql(`sum(${dnsmasq('hits')} + ${dnsmasq('misses')})`), {
        unit: 'reqps',
      }),
      stat(
        'Failures of dnsmasq',
        'Questions per second that dnsmasq sent on and no server answered. 0 is good.',
        promql(`sum(${dnsmasq('servers_queries_failed')}) or 0 * max(dnsmasq_up)`),
        { unit: 'reqps', steps: ['green', [0.1, 'red']] },
      ),
    ],
    [
      series(
        'Questions to dnsmasq',
        'Answered by itself, which are the names of the platform and what it remembers, and sent on.',
        [
          promql(`sum(${dnsmasq('hits')})`, { legend: 'by itself' }),
          promql(`sum(${dnsmasq('misses')})`, { legend: 'sent on' }),
        ],
        { unit: 'reqps' },
      ),
      series(
        'Other servers',
        'Questions that dnsmasq sent on, by server.',
        promql(`sum by (server) (${dnsmasq('servers_queries')})`, { legend: '{{server}}' }),
        { unit: 'reqps' },
      ),
    ],
    [
      answers('powerdns', 'PowerDNS'),
      stat('Asked of PowerDNS', 'Names per second.', promql(pdns('udp_queries', 'tcp_queries')), {
        unit: 'reqps',
      }),
      stat(
        'Failures of PowerDNS',
        'Questions per second that PowerDNS answered with SERVFAIL. 0 is good.',
        promql(pdns('servfail_packets')),
        { unit: 'reqps', steps: ['green', [0.001, 'red']] },
      ),
    ],
    [
      series(
        'Questions to PowerDNS',
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
