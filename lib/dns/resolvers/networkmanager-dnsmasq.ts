import { dnsListeners } from '../../platform/dns-server.ts'
import { signature } from '../../platform/owner.ts'
import { PlatformError } from '../../system/errors.ts'
import { args } from '../../system/exec.ts'
import type { ResolverAdapter } from './adapter.ts'
import { whileItRuns } from './networkmanager.ts'

const settings = '/etc/NetworkManager/dnsmasq.d/macula.conf'
// the plugin is started again with its new settings; connections stay up
const reload = args`nmcli general reload dns-full`

/** A machine where NetworkManager runs a dnsmasq of its own: that one sends our domain to ours, and goes on with everything else. */
export const networkManagerDnsmasq: ResolverAdapter = {
  kind: 'networkmanager-dnsmasq',
  title: "NetworkManager's dnsmasq plugin",
  detect: ({ networkManager }) => networkManager?.dns === 'dnsmasq',
  check({ networkManager }) {
    if (networkManager?.dns === 'dnsmasq') return
    throw new PlatformError('NetworkManager does not use its dnsmasq plugin on this machine', {
      hint: 'RESOLVER=auto in .env',
    })
  },
  // port 53 of 127.0.0.1 is the plugin's
  listens: dnsListeners.highPort,
  upstream: () => ({ upstream: { kind: 'none' } }),
  changes: [settings],
  refresh: journal => journal.$`${reload}`,
  async apply({ domain, listen, journal, owner }) {
    await journal.afterUndo(whileItRuns(reload))
    const outcome = await journal.writeFile(
      settings,
      `# Written by the Macula platform (${signature(owner)}).\n# Names of this domain are answered by its dnsmasq.\nserver=/${domain}/${listen.ip}#${listen.port}\n`,
    )
    if (outcome !== 'unchanged') await journal.$`${reload}`
    return outcome
  },
}
