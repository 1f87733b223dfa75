import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensureBuilt } from '../../lib/supply/cache.ts'
import { machineSuite, unpackPackages } from '../../lib/supply/debian.ts'

// what is measured, what measures it, and the libraries that a Debian without them lacks
const packages = [
  ['haproxy', 'libopentracing-c-wrapper0', 'libopentracing1', 'liblua5.3-0', 'libpcre2-8-0'],
  ['nginx', 'libnginx-mod-stream'],
  ['nftables', 'libnftables1', 'libnftnl11', 'libmnl0', 'libjansson4'],
  ['wrk', 'libluajit-5.1-2'],
  ['dnsperf', 'libck0', 'libldns3'],
  ['socat', 'dnsmasq-base'],
].flat()

/** Environment in which HAProxy, nginx, nft, wrk, dnsperf, socat and dnsmasq are found: unpacked from Debian's packages, not installed. */
export async function benchPrograms(): Promise<NodeJS.ProcessEnv> {
  const suite = await machineSuite()
  const wanted = packages.map(name => ({ name, suite }))
  const cacheDir = process.env.MACULA_CACHE_DIR ?? join(homedir(), '.cache', 'macula')
  const folder = await ensureBuilt(
    { name: 'bench', inputs: wanted, build: (target, note) => unpackPackages(wanted, target, note) },
    { cacheDir },
  )
  return {
    ...process.env,
    BENCH_PROGRAMS: folder,
    PATH: [join(folder, 'usr/sbin'), join(folder, 'usr/bin'), process.env.PATH].join(':'),
    LD_LIBRARY_PATH: join(folder, 'usr/lib/x86_64-linux-gnu'),
  }
}

// called by itself, it fetches them for a bench that runs where there is no network
if (process.argv[1] === fileURLToPath(import.meta.url)) await benchPrograms()
