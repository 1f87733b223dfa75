#!/bin/sh
# First process of a test machine: makes the container look like a machine of its own, then becomes systemd.
set -eu
# containers of an engine in here need to see mounts made later
mount --make-rshared /
# Docker lays its own files over these; a machine has its own, which survive a reboot
for file in resolv.conf hosts hostname; do umount "/etc/$file" 2>/dev/null || true; done
if [ ! -e /var/lib/machine-installed ]; then
  cp -a /usr/local/lib/machine/etc/. /etc/
  [ -L /etc/resolv.conf ] || chmod 0644 /etc/resolv.conf
  # no units that belong to a first boot only
  touch /etc/.updated /var/.updated
  touch /var/lib/machine-installed
fi
# without udev, NetworkManager takes only a machine whose /sys it cannot write for a container
[ -z "${MACHINE_SYS_READ_ONLY:-}" ] || mount -o remount,bind,ro /sys
# systemd refuses the older cgroup hierarchy unless it is told that we know
[ -e /sys/fs/cgroup/cgroup.controllers ] || set -- SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 systemd.unified_cgroup_hierarchy=0
exec /sbin/init "$@"
