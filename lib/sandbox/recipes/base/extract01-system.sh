#!/bin/sh
# What the scripts of Debian's packages would have made, as far as the images on top need it: they did not run. Accounts have the numbers that the
# official images give them.
set -eu
root=$1
. "$(dirname "$0")/../unpacked.sh"
account root 0 /root /bin/sh
account postgres 70 /var/lib/postgresql /usr/sbin/nologin
account pdns 953 /var/spool/powerdns /usr/sbin/nologin
account nobody 65534 /nonexistent /usr/sbin/nologin
ln -s mawk "$root/usr/bin/awk"
# the healthchecks of several official images use busybox's wget
ln -s busybox "$root/usr/bin/wget"
# as in the official images; Debian's own wants PAM to be configured
ln -sf busybox "$root/usr/bin/su"
libraries
certificates
rm -rf "$root"/etc/powerdns/* "$root"/etc/prometheus/*
mkdir -p "$root/etc/powerdns/pdns.d" "$root/docker-entrypoint-initdb.d"
