import { dashboard } from './dashboard.ts'
import { logs, promql, rate, series, stat } from './panels.ts'

const pdns = (...metrics: string[]) => metrics.map(metric => `sum(${rate(`pdns_auth_${metric}`)})`).join(' + ')

export const dns = dashboard({
  uid: 'macula-dns',
  title: 'DNS',
  question: 'Do names resolve, and who answers them?',
  rows: [
    [
      stat('dnsmasq', 'Whether the DNS server of this machine answers.', promql('min(macula_dnsmasq_up)'), {
        states: { 0: ['down', 'red'], 1: ['up', 'green'] },
      }),
      stat('PowerDNS', 'Whether Prometheus could scrape it at its last try.', promql('min(up{job="powerdns"})'), {
        states: { 0: ['down', 'red'], 1: ['up', 'green'] },
      }),
      stat(
        'Without forwarding',
        'Share of the questions that dnsmasq answered itself.',
        promql(
          'sum(macula_dnsmasq_cache_hits_total) / (sum(macula_dnsmasq_cache_hits_total) + sum(macula_dnsmasq_cache_misses_total))',
        ),
        { unit: 'percentunit' },
      ),
      stat(
        'Failures',
        'Questions per second that PowerDNS answered with SERVFAIL. 0 is good.',
        promql(pdns('servfail_packets')),
        { unit: 'reqps', steps: ['green', [0.001, 'red']] },
      ),
    ],
    { heading: 'dnsmasq: names of this machine' },
    [
      series(
        'Questions',
        'Answered from its own names or cache, and forwarded.',
        [
          promql(`sum(${rate('macula_dnsmasq_cache_hits_total')})`, { legend: 'answered' }),
          promql(`sum(${rate('macula_dnsmasq_cache_misses_total')})`, { legend: 'forwarded' }),
        ],
        { unit: 'reqps' },
      ),
      series(
        'Cache',
        'Names put in, and thrown out before their time to make room: then it is too small.',
        [
          promql(`sum(${rate('macula_dnsmasq_cache_insertions_total')})`, { legend: 'put in' }),
          promql(`sum(${rate('macula_dnsmasq_cache_evictions_total')})`, { legend: 'thrown out' }),
        ],
        { unit: 'ops' },
      ),
    ],
    { heading: 'PowerDNS: zones' },
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
      series(
        'Caches',
        'Share of the questions that needed no database.',
        [
          promql(`${pdns('packetcache_hit')} / (${pdns('packetcache_hit', 'packetcache_miss')})`, {
            legend: 'whole answers',
          }),
          promql(`${pdns('query_cache_hit')} / (${pdns('query_cache_hit', 'query_cache_miss')})`, {
            legend: 'records',
          }),
        ],
        { unit: 'percentunit', max: 1 },
      ),
    ],
    [logs('Log lines', 'Of PowerDNS, its database and its pages.', '{service_name=~"powerdns.*"}')],
  ],
})
