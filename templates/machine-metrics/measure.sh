#!/bin/sh
# Measures the containers of this project and the nodes of its cluster every ten seconds, and the size of their volumes every minute, out of
# the files that the kernel and the engine keep. What dnsmasq.sh has read is shown with them. MACHINE and RUN are other folders in tests, and
# ROUND_SECONDS another time.
set -eu

machine=${MACHINE:-/machine}
run=${RUN:-/run/macula}
scripts=${0%/*}

ours="\"com.docker.compose.project\":\"$MACULA_PROJECT\""
# what the engine keeps of its containers, a line for each that has one of these texts
configs() { grep -hsF "$@" "$machine"/containers/*/config.v2.json || true; }

containers() {
  # version 2 of cgroups has one tree; of version 1, two controllers are of interest
  if [ -e "$machine/cgroup/cgroup.controllers" ]; then
    set -- "$machine/cgroup"
  else
    set -- "$machine/cgroup/cpuacct/" "$machine/cgroup/memory/"
  fi
  {
    # a container's group has its id of 64 characters in its name, wherever the engine puts it, and groups of its own are counted in it
    find "$@" -maxdepth 6 -type d -name '*????????????????????????????????????????????????????????????????*' -prune -print 2>/dev/null || true
    # one line per container; nobody else's
    configs -e "$ours" -e "\"io.x-k8s.kind.cluster\":\"$CLUSTER_NAME\""
  } | awk -f "$scripts/containers.awk"
}

# every volume with the project's name, and those with names of their own that its containers use; a volume without a name has 64 digits
volume_names() {
  for folder in "$machine/volumes/${MACULA_PROJECT}"_*/_data; do
    [ ! -d "$folder" ] || basename "${folder%/_data}"
  done
  configs -e "$ours" | grep -oE '"Name":"[A-Za-z0-9][A-Za-z0-9_.-]*","Driver":"local","Type":"volume"' |
    cut -d '"' -f 4 |
    grep -vxE '[0-9a-f]{64}' || true
}

# what the files occupy on the disk; of other file systems that are mounted there, nothing
volumes() {
  echo '# HELP macula_volume_bytes Space that the files of a volume occupy on the disk.'
  echo '# TYPE macula_volume_bytes gauge'
  volume_names | sort -u | while read -r name; do
    # files that go away while they are counted are none of our business
    size=$(du -skx "$machine/volumes/$name/_data" 2>/dev/null | cut -f 1) || true
    [ -z "$size" ] || echo "macula_volume_bytes{volume=\"${name#"${MACULA_PROJECT}"_}\"} $((size * 1024))"
  done
}

# not what is older than a minute: then nobody asks dnsmasq any more
dnsmasq() { find "$machine/dnsmasq/dnsmasq.txt" -mmin -1 -exec cat {} + 2>/dev/null || true; }

# replaced at once, so that nobody reads half a file
write() { cat >"$run/$1.next" && mv "$run/$1.next" "$run/$1"; }

# QUIT is what the image is stopped with; the first process of a container ignores what it does not trap, for 10 s until it is killed
trap 'exit 0' INT QUIT TERM
mkdir -p "$run"
nginx -c "$scripts/nginx.conf"

round=0
sizes=
while :; do
  # beside the rest, because counting many files takes a while; the next count waits for the one before
  if [ $((round % 6)) = 0 ] && { [ -z "$sizes" ] || ! kill -0 "$sizes" 2>/dev/null; }; then
    volumes | write volumes.txt &
    sizes=$!
  fi
  round=$((round + 1))
  { containers; cat "$run/volumes.txt" 2>/dev/null || true; dnsmasq; } | write metrics.txt
  # a signal ends a wait, and not a sleep
  sleep "${ROUND_SECONDS:-10}" &
  wait $!
done
