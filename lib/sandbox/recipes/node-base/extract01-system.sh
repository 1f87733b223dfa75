#!/bin/sh
# What the scripts of Debian's packages would have made, as far as applications need it: they did not run. The account is the one that the official
# image has for applications.
set -eu
root=$1
. "$(dirname "$0")/../unpacked.sh"
account root 0 /root /bin/sh
account nobody 65534 /nonexistent /usr/sbin/nologin
account node 1000 /home/node /bin/sh
mkdir -p "$root/home/node"
chown 1000:1000 "$root/home/node"
ln -s busybox "$root/usr/bin/wget"
libraries
certificates
