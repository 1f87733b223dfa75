import { dnsListeners } from '../../platform/dns-server.ts'
import { signature } from '../../platform/owner.ts'
import { PlatformError } from '../../system/errors.ts'
import { args } from '../../system/exec.ts'
import type { ResolverAdapter } from './adapter.ts'
import { renderResolvConf } from './resolv-conf-file.ts'

const settings = '/etc/NetworkManager/conf.d/macula.conf'
const resolvConf = '/etc/resolv.conf'
/** Where NetworkManager always lists the servers of its connections, whoever owns /etc/resolv.conf. */
const connectionServers = '/run/NetworkManager/no-stub-resolv.conf'
const reload = args`nmcli general reload`

/** A command to NetworkManager for later: it does nothing where NetworkManager has been stopped or removed by then. */
export function whileItRuns(command: readonly string[]): string[] {
  return args`sh -c ${'nmcli general >/dev/null 2>&1 || exit 0; "$@"'} tell ${command}`
}

/**
 * A machine whose /etc/resolv.conf NetworkManager writes: it stops doing so, and the file names our server. dnsmasq takes the servers
 * of the present connections from where NetworkManager keeps listing them, so a change of network is followed.
 */
export const networkManager: ResolverAdapter = {
  kind: 'networkmanager',
  title: 'NetworkManager (owner of /etc/resolv.conf)',
  detect: ({ networkManager, resolvConf: { state, content } }) =>
    networkManager?.dns === 'default' &&
    (content?.keeper === 'NetworkManager' ||
      content?.writtenFor === 'networkmanager' ||
      (state.kind === 'link' && state.target.includes('/NetworkManager/'))),
  check({ networkManager }) {
    if (networkManager) return
    throw new PlatformError('NetworkManager does not run on this machine', { hint: 'RESOLVER=auto in .env' })
  },
  listens: dnsListeners.port53,
  upstream: () => ({ upstream: { kind: 'file', path: connectionServers } }),
  changes: [settings, resolvConf],
  refresh: journal => journal.$`${reload}`,
  async apply({ facts, listen, journal, owner }) {
    await journal.afterUndo(whileItRuns(reload))
    const ownership = await journal.writeFile(
      settings,
      `# Written by the Macula platform (${signature(owner)}).\n# /etc/resolv.conf names its dnsmasq, which forwards to the servers of the connections.\n` +
        '[main]\nrc-manager=unmanaged\n',
    )
    // NetworkManager says itself whether it has read that
    const hasReadIt = [undefined, 'unmanaged'].includes(facts.networkManager?.resolvConf)
    if (ownership !== 'unchanged' || !hasReadIt) await journal.$`${reload}`
    const former = facts.resolvConf.content ?? { nameservers: [], rest: [], writtenFor: undefined, keeper: undefined }
    const pointed = await journal.writeFile(resolvConf, renderResolvConf('networkmanager', owner, listen.ip, former))
    if (ownership !== 'unchanged') return ownership
    return pointed === 'unchanged' && !hasReadIt ? 'updated' : pointed
  },
}
