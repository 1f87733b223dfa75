#!/bin/sh
# What the scripts of Debian's packages would have made, as far as a web server and a shell need it: they did not run.
set -eu
root=$1
printf '%s\n' root:x:0:0::/root:/bin/sh nginx:x:101:101::/nonexistent:/usr/sbin/nologin nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin > "$root/etc/passwd"
printf '%s\n' root:x:0: nginx:x:101: nogroup:x:65534: > "$root/etc/group"
# Shell and tools, as in the official image; Debian's busybox has an nc that cannot just look at a port.
ln -s nc.openbsd "$root/usr/bin/nc"
for tool in $(chroot "$root" /usr/bin/busybox --list); do
  [ -e "$root/usr/bin/$tool" ] || [ -e "$root/usr/sbin/$tool" ] || ln -s busybox "$root/usr/bin/$tool"
done
rm -rf "$root"/etc/nginx/sites-* "$root"/etc/nginx/modules-enabled/*
mkdir -p "$root/var/log/nginx" "$root/var/lib/nginx" "$root/etc/nginx/conf.d"
