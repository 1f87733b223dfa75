// Asks the system resolver (getaddrinfo) for names, all at once: `node lookup.mjs MILLISECONDS FAMILY:NAME…`, one JSON line per answer.
// A process of its own, because a getaddrinfo that waits for a name server cannot be called off, and holds up the end of its process:
// this one ends itself by force. The thread pool has 4 threads where UV_THREADPOOL_SIZE does not say otherwise.
import { lookup } from 'node:dns/promises'
import { writeSync } from 'node:fs'

const [milliseconds, ...questions] = process.argv.slice(2)
setTimeout(() => process.kill(process.pid, 'SIGKILL'), Number(milliseconds))
await Promise.all(
  questions.map(async question => {
    const [family, name] = question.split(':')
    const answer = await lookup(name, { family: Number(family), all: true }).then(
      found => ({ addresses: found.map(({ address }) => address) }),
      error => ({ addresses: [], error: error.code }),
    )
    writeSync(1, `${JSON.stringify({ question, ...answer })}\n`)
  }),
)
process.exit()
