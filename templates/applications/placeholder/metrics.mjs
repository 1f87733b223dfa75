// Metrics in the two text formats that Prometheus reads. OpenMetrics, the newer one, has exemplars: the trace of a request beside its duration.

/** Upper bounds of the buckets of request times, in seconds. */
const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, Number.POSITIVE_INFINITY]

export function createMetrics(application) {
  const requests = new Map()
  const durations = new Map()
  const counters = { spans_sent: 0, spans_dropped: 0, datagrams_received: 0 }

  function observe(labels, seconds, traceId) {
    const histogram = durations.get(labels) ?? { buckets: bounds.map(() => ({ count: 0 })), sum: 0 }
    durations.set(labels, histogram)
    const bucket = histogram.buckets[bounds.findIndex(bound => seconds <= bound)]
    bucket.count += 1
    bucket.exemplar = ` # {trace_id="${traceId}"} ${seconds} ${Date.now() / 1000}`
    histogram.sum += seconds
  }

  return {
    /** A request that was answered. `route` is the page and not the path, of which there may be any number. */
    request({ route, status, seconds, traceId }) {
      const labels = `application="${application}",route="${route}"`
      const counted = `${labels},status="${status}"`
      requests.set(counted, (requests.get(counted) ?? 0) + 1)
      observe(labels, seconds, traceId)
    },
    count(counter, amount = 1) {
      counters[counter] += amount
    },
    /** The answer to a scrape: its content type, and its text. `accept` is the header that says which format is understood. */
    answer(accept = '') {
      const open = accept.includes('application/openmetrics-text')
      const type = open ? 'application/openmetrics-text; version=1.0.0; charset=utf-8' : 'text/plain; version=0.0.4'
      const counter = name => `# TYPE ${name}${open ? '' : '_total'} counter`
      const lines = [
        counter('http_requests'),
        ...[...requests].map(([labels, count]) => `http_requests_total{${labels}} ${count}`),
        '# TYPE http_request_duration_seconds histogram',
        ...[...durations].flatMap(([labels, histogram]) => histogramLines(labels, histogram, open)),
        ...Object.entries(counters).flatMap(([name, value]) => [
          counter(name),
          `${name}_total{application="${application}"} ${value}`,
        ]),
        ...(open ? ['# EOF'] : []),
      ]
      return [type, `${lines.join('\n')}\n`]
    },
  }
}

function histogramLines(labels, { buckets, sum }, withExemplars) {
  let total = 0
  const lines = buckets.map(({ count, exemplar = '' }, index) => {
    total += count
    const bound = bounds[index] === Number.POSITIVE_INFINITY ? '+Inf' : bounds[index]
    return `http_request_duration_seconds_bucket{${labels},le="${bound}"} ${total}${withExemplars ? exemplar : ''}`
  })
  const name = 'http_request_duration_seconds'
  return [...lines, `${name}_sum{${labels}} ${sum}`, `${name}_count{${labels}} ${total}`]
}
