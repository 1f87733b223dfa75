// What a forward from a loopback address to a container costs, by each program that could do it: requests a second and their times over open
// connections, and new connections a second. Then what happens to a connection that is made while its target is away.
// All in network namespaces made for it: the client with the forwards, and behind a pair of virtual interfaces the target.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { socatCommand } from '../helpers/route-commands.ts'
import { benchPrograms } from './programs.ts'
import { markdown, report } from './report.ts'
import { median, rounds, spread } from './timing.ts'

const here = fileURLToPath(import.meta.url)
if (process.env.BENCH_PROGRAMS === undefined) {
  const again = ['--net', process.execPath, ...process.execArgv, here]
  execFileSync('unshare', again, { stdio: 'inherit', env: await benchPrograms() })
  process.exit()
}

const proxy = '/lib/systemd/systemd-socket-proxyd'
const target = { ip: '172.23.0.2', port: 80 }
const seconds = 1
const connections = [1, 100, 1000]
const folder = mkdtempSync(join(tmpdir(), 'macula-bench-'))
chmodSync(folder, 0o755)
const started: ChildProcess[] = []

function start(program: string, ...args: string[]): ChildProcess {
  const child = spawn(program, args, { stdio: 'ignore' })
  started.push(child)
  return child
}

function sh(script: string): string {
  return execFileSync('sh', ['-ec', script], { encoding: 'utf8' })
}

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

/** A network namespace for the target, with interfaces as a container has them. */
async function makeNetwork(): Promise<number> {
  const { pid = 0 } = start('unshare', '--net', 'sleep', 'infinity')
  await pause(200)
  sh(`ip link set lo up
    ip link add macula type veth peer name inside netns ${pid}
    ip address add 172.23.0.1/16 dev macula
    ip link set macula up
    nsenter --net --target ${pid} sh -c 'ip link set lo up; ip address add ${target.ip}/16 dev inside; ip link set inside up'`)
  // a closed connection keeps its port for a minute, and there are 64,000
  for (const namespace of ['', `nsenter --net --target ${pid} `])
    sh(
      `${namespace}sysctl -qw net.ipv4.ip_local_port_range='1024 65000' net.ipv4.tcp_tw_reuse=1 net.core.somaxconn=4096`,
    )
  // as our units set it: a client of a container that is gone hears so in a third of a second
  sh('echo 100 >/proc/sys/net/ipv4/neigh/macula/retrans_time_ms')
  return pid
}

function startTarget(pid: number): ChildProcess {
  writeFileSync(join(folder, 'big'), 'x'.repeat(65536))
  const config = file(
    'target.conf',
    `daemon off; worker_processes 1; worker_rlimit_nofile 20000; pid ${folder}/target.pid; error_log stderr emerg;
    events { worker_connections 8192; }
    http { access_log off; keepalive_requests 100000000; sendfile on; tcp_nopush on;
      client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
      server { listen ${target.ip}:${target.port} backlog=4096; root ${folder}; location = /small { return 200 "${'x'.repeat(200)}"; } } }`,
  )
  return start('nsenter', '--net', `--target=${pid}`, 'nginx', '-p', folder, '-c', config)
}

/** Opens the socket as our socket units have systemd do it, and becomes the program that serves it. systemd-socket-activate knows no NoDelay=. */
const asSystemd = `BEGIN { $^F = 100 } socket(S, PF_INET, SOCK_STREAM, 6) && setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1) && setsockopt(S, 6, 1, 1)
  && bind(S, pack_sockaddr_in(8001, inet_aton('127.0.0.4'))) && listen(S, 4096) && fileno(S) == 3 or die; @ENV{'LISTEN_FDS', 'LISTEN_PID'} = (1, $$); exec @ARGV`

interface Engine {
  name: string
  listen: { ip: string; port: number }
  start(): void
}

const route = (port: number) => ({ group: 'data', service: 'bench', listen: { ip: '127.0.0.4', port }, target })
const to = `${target.ip}:${target.port}`
const engines: Engine[] = [
  { name: 'direct, without a forward', listen: target, start: () => {} },
  {
    name: 'systemd-socket-proxyd',
    listen: { ip: '127.0.0.4', port: 8001 },
    start: () => start('perl', '-MSocket', '-e', asSystemd, proxy, '--connections-max=4096', to),
  },
  {
    name: 'socat, as the platform runs it',
    listen: { ip: '127.0.0.4', port: 8002 },
    start: () => {
      const [program = '', ...args] = socatCommand(route(8002))
      start(program, ...args)
    },
  },
  {
    name: 'plain socat',
    listen: { ip: '127.0.0.4', port: 8003 },
    start: () => start('socat', 'TCP4-LISTEN:8003,bind=127.0.0.4,reuseaddr,fork', `TCP4:${to}`),
  },
  {
    name: 'HAProxy (mode tcp)',
    listen: { ip: '127.0.0.4', port: 8004 },
    start: () => {
      const text = `global\n maxconn 5000\n nbthread 2\ndefaults\n mode tcp\n timeout connect 1s\n timeout client 1h\n timeout server 1h\n retries 10\nlisten a\n bind 127.0.0.4:8004 backlog 4096\n server b ${to}\n`
      start('haproxy', '-db', '-f', file('haproxy.cfg', text))
    },
  },
  {
    name: 'nginx stream',
    listen: { ip: '127.0.0.4', port: 8005 },
    start: () => {
      const module = join(process.env.BENCH_PROGRAMS!, 'usr/lib/nginx/modules/ngx_stream_module.so')
      const text = `load_module ${module}; daemon off; worker_processes 2; worker_rlimit_nofile 20000; pid ${folder}/stream.pid; error_log stderr emerg;
        events { worker_connections 8192; } stream { server { listen 127.0.0.4:8005 backlog=4096; proxy_connect_timeout 1s; proxy_pass ${to}; } }`
      start('nginx', '-p', folder, '-c', file('stream.conf', text))
    },
  },
  {
    name: 'nftables DNAT',
    listen: { ip: '127.0.0.4', port: 8006 },
    start: () => {
      // a packet from 127.0.0.1 leaves the loopback interface only where the kernel is told that this is all right
      sh(`sysctl -qw net.ipv4.conf.all.route_localnet=1
        nft 'add table ip bench
          add chain ip bench out { type nat hook output priority -100; }
          add chain ip bench post { type nat hook postrouting priority 100; }
          add rule ip bench out ip daddr 127.0.0.4 tcp dport 8006 dnat to ${to}
          add rule ip bench post ip saddr 127.0.0.0/8 ip daddr ${target.ip} masquerade'`)
    },
  },
]

interface Load {
  perSecond: number
  p50: number
  p99: number
}

/** One second of load; times in milliseconds. */
function load({ listen }: Engine, path: string, open: number, headers: string[] = []): Load {
  const args = ['-t1', `-c${open}`, `-d${seconds}s`, '--latency', ...headers.flatMap(each => ['-H', each])]
  const text = execFileSync('wrk', [...args, `http://${listen.ip}:${listen.port}${path}`], { encoding: 'utf8' })
  const time = (percent: number) => {
    const [, value, unit = 'ms'] = new RegExp(`${percent}%\\s+([\\d.]+)(us|ms|s)`).exec(text) ?? []
    return Number(value) * { us: 0.001, ms: 1, s: 1000 }[unit as 'us' | 'ms' | 's']
  }
  return { perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]), p50: time(50), p99: time(99) }
}

const kinds = [
  { name: 'requests of 200 bytes', path: '/small', headers: [], open: connections },
  { name: 'requests of 64 KiB', path: '/big', headers: [], open: connections },
  { name: 'new connections', path: '/small', headers: ['Connection: close'], open: connections },
]

/** What a client sees that connects while the target is away: whether it was served in the end, and when. */
async function whileAway(engine: Engine, away: () => void, back: () => void): Promise<string> {
  away()
  // a connection that comes in while the target is still ending is neither here nor there
  await pause(500)
  const begun = performance.now()
  const answer = new Promise<string>(resolve =>
    get({ host: engine.listen.ip, port: engine.listen.port, path: '/small', agent: false, timeout: 15_000 }, response =>
      response.resume().on('end', () => resolve('served')),
    ).on('error', ({ code }: NodeJS.ErrnoException) => resolve(code ?? 'error')),
  ).then(outcome => `${outcome} after ${((performance.now() - begun) / 1000).toFixed(1)} s`)
  await pause(awaySeconds * 1000)
  back()
  const seen = await answer
  await pause(1500)
  return seen
}
const awaySeconds = 4

try {
  const pid = await makeNetwork()
  let server = startTarget(pid)
  for (const engine of engines) engine.start()
  await pause(1500)
  for (const engine of engines) load(engine, '/small', 1)

  const seen = new Map<string, Load[]>()
  for (let round = 0; round < rounds; round += 1)
    for (const kind of kinds)
      for (const open of kind.open)
        for (const engine of engines) {
          const key = [kind.name, open, engine.name].join()
          seen.set(key, [...(seen.get(key) ?? []), load(engine, kind.path, open, kind.headers)])
        }
  const tables = kinds.flatMap(kind => [
    '',
    `${kind.name[0]?.toUpperCase()}${kind.name.slice(1)} a second, median (smallest–largest), then p50 / p99 in ms:`,
    '',
    ...markdown(
      ['by', ...kind.open.map(open => `${open} connection${open === 1 ? '' : 's'}`)],
      engines.map(engine => [
        engine.name,
        ...kind.open.map(open => {
          const loads = seen.get([kind.name, open, engine.name].join()) ?? []
          const times = [median(loads.map(({ p50 }) => p50)), median(loads.map(({ p99 }) => p99))]
          const perSecond = spread(
            loads.map(each => each.perSecond),
            0,
          )
          return `${perSecond}; ${times.map(time => time.toFixed(time < 10 ? 2 : 0)).join(' / ')}`
        }),
      ]),
    ),
  ])

  const inside = (script: string) => sh(`nsenter --net --target ${pid} ${script}`)
  const restarts: string[][] = []
  for (const engine of engines) {
    const closed = await whileAway(
      engine,
      () => sh(`kill $(cat ${folder}/target.pid)`),
      () => {
        server = startTarget(pid)
      },
    )
    const gone = await whileAway(
      engine,
      () => inside('ip link set inside down'),
      () => inside('ip link set inside up'),
    )
    restarts.push([engine.name, closed, gone])
  }
  server.kill()
  report('routes', [
    '## Routes',
    ...tables,
    '',
    `A connection made while the target is away for ${awaySeconds} s:`,
    '',
    ...markdown(['by', 'its port is closed', 'its address is gone'], restarts),
  ])
} finally {
  for (const child of started) child.kill()
  rmSync(folder, { recursive: true, force: true })
}
