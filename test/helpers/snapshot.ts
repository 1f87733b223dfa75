import type { Machine } from './machine.ts'

/** What the platform may not leave behind on a machine, as lines that a person can read: thing → state. */
export type Snapshot = ReadonlyMap<string, string>

/** Looks at every path of /etc and /usr/local, unit, package, network interface, name server and open port of a machine. */
export async function snapshotOf(machine: Machine): Promise<Snapshot> {
  const lines = (await machine.sh(snapshotScript)).split('\n')
  return new Map(lines.map(line => line.split('\t', 2) as [string, string]))
}

/** What differs, one line each; empty when the machine is as it was. */
export function differences(before: Snapshot, after: Snapshot): string[] {
  const things = [...new Set([...before.keys(), ...after.keys()])].sort()
  return things
    .filter(thing => before.get(thing) !== after.get(thing))
    .map(thing => `${thing}: ${before.get(thing) ?? 'was not there'} → ${after.get(thing) ?? 'is not there'}`)
}

// one line each: kind and name, a tab, the state
const snapshotScript = String.raw`
cd /
paths() { find etc usr/local usr/lib/systemd root home -xdev "$@"; }
find var/lib opt -xdev -maxdepth 1 -printf 'path /%p\t%y %m %U:%G\n'
paths ! -type f -printf 'path /%p\t%y %m %U:%G %l\n'
paths -type f -printf 'path /%p\tf %m %U:%G\n'
paths -type f -exec sha256sum {} + | awk '{ sum = $1; sub(/^[^ ]+ +/, ""); print "content /" $0 "\t" sum }'
# after a teardown the next setup is another installation, with another id; that no file has one is no failure
{ paths -type f -exec grep -lsE 'installation [0-9a-f]{12} in ' {} + || true; } | while read -r file; do
  sed -E 's/installation [0-9a-f]{12} in /installation ID in /g' "$file" | sha256sum | awk -v file="$file" '{ print "content /" file "\t" $1 }'
done
systemctl list-unit-files --no-legend --no-pager --plain | awk '{ print "unit file " $1 "\t" $2 }'
# the dispatcher comes when a connection changes, hostnamed when it is asked, and both go by themselves
systemctl list-units --no-legend --no-pager --plain --state=active,failed,activating,auto-restart \
  --type=service,socket,target,timer,path | grep -v -E '^(NetworkManager-dispatcher|systemd-hostnamed)' | awk '{ print "unit " $1 "\t" $3 " " $4 }'
# daemons go on as they were started until they are told
ps -ewwo args= | awk '$1 ~ /\/(systemd-socket-proxyd|dnsmasq)$/ { count[$0]++ } END { for (args in count) print "runs " args "\t" count[args] }'
! command -v nmcli >/dev/null || busctl get-property org.freedesktop.NetworkManager \
  /org/freedesktop/NetworkManager/DnsManager org.freedesktop.NetworkManager.DnsManager Mode RcManager |
  awk '{ print "NetworkManager " NR "\t" $2 }'
dpkg-query -W -f 'package \${Package}\t\${db:Status-Abbrev}\${Version}\n'
apt-mark showmanual | awk '{ print "asked-for package " $1 "\tyes" }'
ip -4 route show | awk '{ print "route " $0 "\tthere" }'
ip -o link show | awk '{ sub(/@.*/, "", $2); print "interface " $2 "\tthere" }'
ip -o -4 address show | awk '{ print "address " $2 " " $4 "\tthere" }'
ip -4 route show | awk '{ sub(/ linkdown/, ""); print "route " $0 "\tthere" }'
! command -v resolvectl >/dev/null || { resolvectl dns; resolvectl domain; } |
  awk '{ sub(/^Link [0-9]+ /, ""); name = $1; $1 = ""; print "resolved " name " " (seen[name]++ ? "domains" : "servers") "\t" $0 }'
# Docker's own resolver has another port at every start of the container
ss --listening --numeric --tcp --udp --no-header | awk '$5 !~ /^127.0.0.11:/ { print "listens " $1 " " $5 "\tyes" }'
`
