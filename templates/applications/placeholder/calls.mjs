// One application asks the next, by the name of its Service in the cluster. The call is a span of its own, and its header makes it the
// parent of the span over there.
import { setTimeout as pause } from 'node:timers/promises'

/** Longer than any of our pages takes, and shorter than a person waits. */
const patienceMs = 2000

/** Asks for a page of another application, within the span `parent`. Throws where it does not answer 2xx. */
export async function call(url, { tracer, parent, headers }) {
  const span = tracer.start('GET', {
    kind: 'client',
    parent: parent.header,
    attributes: { 'http.request.method': 'GET', 'server.address': new URL(url).hostname, 'url.full': url },
  })
  try {
    const response = await fetch(url, {
      headers: { ...headers, traceparent: span.header },
      signal: AbortSignal.timeout(patienceMs),
    })
    span.set({ 'http.response.status_code': response.status })
    if (!response.ok) throw new Error(`${url} answered ${response.status}`)
    return await response.json()
  } catch (error) {
    span.fail(error)
    throw error
  } finally {
    span.end()
  }
}

/**
 * A little traffic after the start, so that dashboards have something to show: `count` requests to this application, one each second. The first
 * is one that fails. A second in which a peer is not there yet passes without one.
 */
export async function askOneself(own, { count, peers }) {
  for (let turn = 0, asked = 0; turn < count; turn += 1) {
    const there = await Promise.all(peers.map(peer => answers(`http://${peer}/health`)))
    if (there.every(Boolean)) {
      await answers(asked === 0 ? `${own}/fail` : `${own}/call/${peers.join('/')}`)
      asked += 1
    }
    await pause(1000, undefined, { ref: false })
  }
}

async function answers(url) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(patienceMs) })
    await response.arrayBuffer()
    return response.ok
  } catch {
    return false
  }
}
