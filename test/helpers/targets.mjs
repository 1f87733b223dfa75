// Stands for the containers of a platform: `node targets.mjs ADDRESS:PORT…` answers HTTP at each with its own address.
import { createServer } from 'node:http'

for (const target of process.argv.slice(2)) {
  const [ip, port] = target.split(':')
  createServer((_, response) => response.end(target)).listen({ host: ip, port: Number(port), backlog: 1024 })
}
