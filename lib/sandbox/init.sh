#!/usr/bin/env bash
# First process of a sandbox; runs in fresh network, mount and PID namespaces, so that all in it ends when this one does.
# usage: init.sh CGROUP SHARED…
#   CGROUP  name of the cgroup below which the sandbox's engine puts its containers
#   SHARED  folders that stay the machine's own, writable
# Says `ready` on stdout when the private copy of the machine stands. Then stdin decides: end of file (our parent is gone, however
# it went) ends the sandbox, the line `keep` lets it live until SIGTERM.
set -euo pipefail
cgroup=$1
shift
layers=/run/macula/layers # in memory, like all of /run here

# every folder of the machine on a disk gets a layer over it that takes the changes; these are left alone or get something else
own='^/(proc|sys|dev|run|tmp|mnt|media|boot|lost\+found)(/|$)'
disks='^(ext[234]|xfs|btrfs|zfs|f2fs|bcachefs|overlay|tmpfs)$'

cover_folder() {
  local folder=$1 layer=$layers/changes/${1//\//-}
  mkdir -p "$layer"/{upper,work}
  # the layer's own folder decides mode and owner of what is seen
  chown --reference="$folder" "$layer/upper"
  chmod --reference="$folder" "$layer/upper"
  mount -t overlay sandbox -o "lowerdir=$layers/machine$folder,upperdir=$layer/upper,workdir=$layer/work" "$folder"
}

folders_of_the_machine() {
  local folder kind
  for folder in /*/; do
    folder=${folder%/}
    [[ -L $folder || $folder =~ $own ]] || printf '%s\n' "$folder"
  done
  # mount points inside them: a layer over the outer folder would hide them
  while read -r _ folder kind _; do
    [[ $folder == / || $folder =~ $own || ! $kind =~ $disks || ! -d $folder || $folder == *[\\:,]* ]] && continue
    # an engine of the machine has a mount for each of its containers; they are not ours to see
    [[ $folder == */overlay2/* ]] || printf '%s\n' "$folder"
  done </proc/mounts
}

resolver=$(cat /etc/resolv.conf 2>/dev/null || true)
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/lock "$layers/machine"
chmod 0700 "$layers"
mount --rbind / "$layers/machine"
mapfile -t folders < <(folders_of_the_machine | sort -u)
for folder in "${folders[@]}"; do cover_folder "$folder"; done
for folder in "$@"; do
  mkdir -p "$folder"
  mount --rbind "$layers/machine$folder" "$folder"
done
umount --lazy "$layers/machine"
# runc writes there for every `docker exec`
mountpoint -q /tmp || mount --bind /tmp /tmp
# what is left of the machine's own root is the list of top-level folders itself
mount -o remount,bind,ro /
# a link into /run dangles now
if [[ -L /etc/resolv.conf ]]; then
  rm /etc/resolv.conf
  printf '%s\n' "$resolver" >/etc/resolv.conf
fi

# waits up to 8 s for what the command `$@` says
wait_until() {
  for _ in {1..80}; do
    "$@" && return
    sleep 0.1
  done
  return 1
}

engine_is_gone() { ! kill -0 "$engine" 2>/dev/null; }

all_are_gone() {
  local processes=(/proc/[0-9]*)
  ((${#processes[@]} == 1))
}

# a frozen process, of a container that is paused or just being made, dies of nothing
thaw() {
  local file
  while read -r file; do
    case $file in
      *freezer.state) echo THAWED >"$file" ;;
      *) echo 0 >"$file" ;;
    esac
  done < <(find "$@" '(' -name freezer.state -o -name cgroup.freeze ')' 2>/dev/null) 2>/dev/null || true
}

end_all() {
  trap '' TERM INT HUP
  local cgroups=("/sys/fs/cgroup/$cgroup" /sys/fs/cgroup/*/"$cgroup") engine
  if engine=$(cat /run/docker.pid 2>/dev/null) && kill -TERM "$engine" 2>/dev/null; then
    # its containers are about to be removed and need no time to end well; the engine, told before, does not start them again
    find "${cgroups[@]}" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u | xargs -r kill -KILL 2>/dev/null || true
    thaw "${cgroups[@]}"
    wait_until engine_is_gone || true
  fi
  kill -TERM -1 2>/dev/null || true
  thaw "${cgroups[@]}"
  wait_until all_are_gone || kill -KILL -1 2>/dev/null || true
  wait_until all_are_gone || true
  find "${cgroups[@]}" -depth -type d -delete 2>/dev/null || true
  exit 0
}

trap end_all TERM INT HUP
echo ready
exec >/dev/null
if read -r order && [[ $order == keep ]]; then
  exec </dev/null
  sleep infinity &
  wait $!
fi
end_all
