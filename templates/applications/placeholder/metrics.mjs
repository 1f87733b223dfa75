// Counters in the text format that Prometheus reads.

/** Upper bounds of the buckets of request times, in seconds. */
const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

export function createMetrics(application) {
  const requests = new Map()
  const buckets = new Array(bounds.length + 1).fill(0)
  const counters = { spans_sent: 0, spans_dropped: 0, datagrams_received: 0 }
  let seconds = 0

  return {
    request(status, duration) {
      requests.set(status, (requests.get(status) ?? 0) + 1)
      const bucket = bounds.findIndex(bound => duration <= bound)
      buckets[bucket === -1 ? bounds.length : bucket] += 1
      seconds += duration
    },
    count(counter, amount = 1) {
      counters[counter] += amount
    },
    text() {
      const label = `application="${application}"`
      let sum = 0
      const histogram = buckets.map((count, index) => {
        sum += count
        return `http_request_duration_seconds_bucket{${label},le="${bounds[index] ?? '+Inf'}"} ${sum}`
      })
      return [
        '# TYPE http_requests_total counter',
        ...[...requests].map(([status, count]) => `http_requests_total{${label},status="${status}"} ${count}`),
        '# TYPE http_request_duration_seconds histogram',
        ...histogram,
        `http_request_duration_seconds_sum{${label}} ${seconds}`,
        `http_request_duration_seconds_count{${label}} ${sum}`,
        ...Object.entries(counters).flatMap(([name, value]) => [
          `# TYPE ${name}_total counter`,
          `${name}_total{${label}} ${value}`,
        ]),
        '',
      ].join('\n')
    },
  }
}
