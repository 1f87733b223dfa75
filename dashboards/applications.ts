import { dashboard } from './dashboard.ts'
import { labelOf, logs, promql, quantile, rate, series, serviceGraph, stat, table, traces } from './panels.ts'

// Tempo makes these of the spans that it receives. A request that is answered is a span of one of two kinds; calls to others are spans, too.
const answered = 'span_kind=~"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER", service=~"$service"'
const calls = `traces_spanmetrics_calls_total{${answered}}`
const failed = `traces_spanmetrics_calls_total{${answered}, status_code="STATUS_CODE_ERROR"}`
const durations = `traces_spanmetrics_latency_bucket{${answered}}`

/** Failed ones among all, and 0 where none failed. */
const failedShare = (by: string) =>
  `(sum by (${by}) (${rate(failed)}) or 0 * sum by (${by}) (${rate(calls)})) / sum by (${by}) (${rate(calls)})`

export const applications = dashboard({
  uid: 'macula-applications',
  title: 'Applications',
  question: 'Do the applications answer: how often, how fast, and with how many errors?',
  variables: [labelOf('traces_spanmetrics_calls_total', 'service', 'service', 'Application')],
  rows: [
    [
      stat('Requests', 'Per second, of the chosen applications.', promql(`sum(${rate(calls)})`), { unit: 'reqps' }),
      stat(
        'Errors',
        'Share of the requests that failed.',
        promql(`(sum(${rate(failed)}) or vector(0)) / sum(${rate(calls)})`),
        {
          unit: 'percentunit',
          steps: ['green', [0.01, 'orange'], [0.05, 'red']],
        },
      ),
      stat('Duration', '95 of 100 requests were answered in this time.', promql(quantile(0.95, durations)), {
        unit: 's',
        steps: ['green', [0.5, 'orange'], [2, 'red']],
      }),
    ],
    [
      series('Requests', 'By application.', promql(`sum by (service) (${rate(calls)})`, { legend: '{{service}}' }), {
        unit: 'reqps',
      }),
      series(
        'Errors',
        'Share of the requests that failed, by application.',
        promql(failedShare('service'), { legend: '{{service}}' }),
        { unit: 'percentunit', max: 1 },
      ),
      series(
        'Duration',
        '95th percentile, by application. A dot links to the trace of one request.',
        promql(quantile(0.95, durations, 'service'), { legend: '{{service}}', exemplar: true }),
        { unit: 's' },
      ),
    ],
    { heading: 'Routes' },
    [
      table(
        'Routes',
        'Each route with its rate, errors and duration. The name of the application links to its log lines.',
        {
          'Requests/s': { expr: `sum by (service, span_name) (${rate(calls)})`, unit: 'reqps' },
          Errors: {
            expr: failedShare('service, span_name'),
            unit: 'percentunit',
            steps: ['green', [0.01, 'orange'], [0.05, 'red']],
          },
          'Half below': { expr: quantile(0.5, durations, 'service', 'span_name'), unit: 's' },
          '95 % below': { expr: quantile(0.95, durations, 'service', 'span_name'), unit: 's' },
        },
        {
          link: {
            column: 'service',
            title: 'Log lines',
            // biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana fills these in
            url: '/d/macula-logs?var-service=${__value.raw}&${__url_time_range}',
          },
        },
      ),
    ],
    [
      series(
        'Requests by route',
        'By application and route.',
        promql(`sum by (service, span_name) (${rate(calls)})`, { legend: '{{service}} {{span_name}}' }),
        { unit: 'reqps' },
      ),
      series(
        'Duration by route',
        '95th percentile. A dot links to the trace of one request.',
        promql(quantile(0.95, durations, 'service', 'span_name'), {
          legend: '{{service}} {{span_name}}',
          exemplar: true,
        }),
        { unit: 's' },
      ),
    ],
    { heading: "The applications' own metrics" },
    [
      series(
        'Requests by status',
        'As the applications count them.',
        promql(`sum by (application, status) (${rate('http_requests_total{application=~"$service"}')})`, {
          legend: '{{application}} {{status}}',
        }),
        { unit: 'reqps' },
      ),
      series(
        'Duration',
        '95th percentile, as the applications measure it. A dot links to the trace of one request.',
        promql(
          quantile(0.95, 'http_request_duration_seconds_bucket{application=~"$service"}', 'application', 'route'),
          {
            legend: '{{application}} {{route}}',
            exemplar: true,
          },
        ),
        { unit: 's' },
      ),
    ],
    { heading: 'Who calls whom' },
    [
      serviceGraph('Service graph', 'A circle is an application, a line a call. Click one for its metrics and traces.'),
      series(
        'Calls',
        'From one application to another.',
        promql(`sum by (client, server) (${rate('traces_service_graph_request_total{server=~"$service"}')})`, {
          legend: '{{client}} → {{server}}',
        }),
        { unit: 'reqps' },
      ),
    ],
    { heading: 'Traces and logs' },
    [
      traces(
        'Recent traces',
        'Traces can be searched about half a minute after they were sent. A trace links to its log lines.',
        '{ resource.service.name =~ "$service" }',
      ),
      traces(
        'Failed requests',
        'Traces with an error in them.',
        '{ resource.service.name =~ "$service" && status = error }',
      ),
    ],
    [
      logs(
        'Log lines',
        'Of the chosen applications. A line with a trace id links to its trace.',
        '{service_name=~"$service"}',
      ),
    ],
  ],
})
