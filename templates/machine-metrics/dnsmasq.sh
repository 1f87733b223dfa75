#!/bin/sh
# Asks the machine's dnsmasq every ten seconds for what it counts, and leaves it in a file that machine-metrics shows to Prometheus. It runs on
# the machine's network, because dnsmasq is on its loopback addresses, and listens nowhere. The names are those of the well-known exporter
# for dnsmasq. DNSMASQ, RUN and ROUND_SECONDS are others in tests.
set -eu

# where it may listen, as setup-dnsmasq chooses: address and port
dnsmasq=${DNSMASQ:-{{listeners}}}
run=${RUN:-/run/macula}
scripts=${0%/*}

# One query for TXT records as TCP has it, its length first: NAME CLASS, which is 1 for the internet and 3 (chaos) for what a server says of itself.
question() {
  labels=$(IFS=.; for label in $1; do printf '\\%03o%s' "${#label}" "$label"; done)
  printf "\\000\\$(printf %03o $((${#1} + 18)))\\000\\001\\001\\000\\000\\001\\000\\000\\000\\000\\000\\000$labels\\000\\000\\020\\000\\00$2"
}

# By TCP, because dnsmasq counts such questions elsewhere than those of the machine, which come by UDP. busybox' nc says when it has no more to ask,
# as not every nc does: dnsmasq has a process for each connection, which ends with that. Whatever listens there instead may never stop talking.
ask() {
  {
    # the version of its configuration: whether it is ours
    question {{versionName}} 1
    for name in cachesize insertions evictions hits misses servers; do question "$name.bind" 3; done
  } | timeout 3 busybox nc "$1" "$2" 2>/dev/null | head -c 16384 | od -An -v -tu1 | awk -f "$scripts/dnsmasq.awk"
}

measured() {
  for address in $dnsmasq; do
    found=$(ask "${address%:*}" "${address#*:}" || true)
    if [ -n "$found" ]; then
      echo "$found"
      return
    fi
  done
  awk -v nobody=1 -f "$scripts/dnsmasq.awk" </dev/null
}

# QUIT is what the image is stopped with; the first process of a container ignores what it does not trap, for 10 s until it is killed
trap 'exit 0' INT QUIT TERM
while :; do
  # replaced at once, so that nobody reads half a file
  measured >"$run/dnsmasq.next" && mv "$run/dnsmasq.next" "$run/dnsmasq.txt"
  # a signal ends a wait, and not a sleep
  sleep "${ROUND_SECONDS:-9}" &
  wait $!
done
