#!/bin/sh
# What the scripts of Debian's packages would have made, as far as applications need it: they did not run. The account is the one that the official
# image has for applications.
set -eu
root=$1
account() { # NAME NUMBER HOME SHELL
  echo "$1:x:$2:$2::$3:$4" >> "$root/etc/passwd"
  echo "$1:x:$2:" >> "$root/etc/group"
  echo "$1:!:::::::" >> "$root/etc/shadow"
}
account root 0 /root /bin/sh
account nobody 65534 /nonexistent /usr/sbin/nologin
account node 1000 /home/node /bin/sh
chmod 640 "$root/etc/shadow"
mkdir -p "$root/home/node"
chown 1000:1000 "$root/home/node"
ln -s busybox "$root/usr/bin/wget"
chroot "$root" ldconfig
(cd "$root/usr/share/ca-certificates" && find * -name '*.crt' | sort) > "$root/etc/ca-certificates.conf"
chroot "$root" update-ca-certificates > /dev/null
