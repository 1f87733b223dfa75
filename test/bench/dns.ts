// What our dnsmasq answers a second, with the platform's own names and with 10,000, against a bare dnsmasq with a hosts file of the same names.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { dnsmasqConfig } from '../../lib/dns/config.ts'
import { us } from '../helpers/owner.ts'
import { goodPlatform } from '../helpers/platform.ts'
import { benchPrograms } from './programs.ts'
import { markdown, report } from './report.ts'
import { rounds, spread } from './timing.ts'

const here = fileURLToPath(import.meta.url)
if (process.env.BENCH_PROGRAMS === undefined) {
  const inside = ['--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh']
  execFileSync('unshare', [...inside, process.execPath, ...process.execArgv, here], {
    stdio: 'inherit',
    env: await benchPrograms(),
  })
  process.exit()
}

const folder = mkdtempSync(join(tmpdir(), 'macula-bench-'))
const platform = await goodPlatform()
const extra = Array.from({ length: 10_000 }, (_, index) => ({
  name: `extra-${index}.${platform.domain}`,
  ip: '127.0.0.9',
}))
const sets = [platform.names, [...platform.names, ...extra]]
const servers: { names: number; kind: 'ours' | 'bare'; port: number; queries: string; perSecond: number[] }[] = []
const processes = []

try {
  for (const [index, names] of sets.entries())
    for (const kind of ['ours', 'bare'] as const) {
      const port = 5300 + servers.length
      const config = join(folder, `${port}.conf`)
      const settings = {
        listen: { ip: '127.0.0.1', port },
        upstream: { kind: 'none' } as const,
        user: 'root',
        owner: us,
      }
      const { text } = await dnsmasqConfig({ ...platform, names }, settings)
      const hosts = join(folder, `${port}.hosts`)
      writeFileSync(hosts, names.map(({ name, ip }) => `${ip} ${name}\n`).join(''))
      const bare = `port=${port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nuser=root\naddn-hosts=${hosts}\n`
      writeFileSync(config, kind === 'ours' ? text : bare)
      processes.push(
        spawn('dnsmasq', ['--keep-in-foreground', '--pid-file', `--conf-file=${config}`], { stdio: 'inherit' }),
      )
      const queries = join(folder, `${index}.queries`)
      writeFileSync(queries, names.map(({ name }) => `${name} A\n`).join(''))
      servers.push({ names: names.length, kind, port, queries, perSecond: [] })
    }
  await pause(1500)
  for (let round = 0; round < rounds; round += 1)
    for (const { port, queries, perSecond } of servers) {
      const args = ['-s', '127.0.0.1', '-p', String(port), '-d', queries, '-l', '2', '-S', '0']
      const said = execFileSync('dnsperf', args, { encoding: 'utf8' })
      if (!/NOERROR \d+ \(100\.00%\)/.test(said)) throw new Error(said)
      perSecond.push(Number(/Queries per second:\s+([\d.]+)/.exec(said)?.[1]))
    }
} finally {
  for (const each of processes) each.kill()
  rmSync(folder, { recursive: true, force: true })
}

report('dns', [
  '## DNS',
  '',
  'Lookups a second, median (smallest–largest):',
  '',
  ...markdown(
    ['names', 'our dnsmasq', 'bare dnsmasq with a hosts file'],
    sets.map(({ length }) => [
      length.toLocaleString('en'),
      ...(['ours', 'bare'] as const).map(kind =>
        spread(servers.find(each => each.names === length && each.kind === kind)?.perSecond ?? [], 0),
      ),
    ]),
  ),
])
