#!/bin/sh
# What the images on top expect to find, and nothing they would have to take away.
set -eu
root=$1
# the healthchecks of several official images use busybox's wget
ln -s busybox "$root/usr/bin/wget"
rm -rf "$root"/etc/nginx/sites-* "$root"/etc/nginx/modules-enabled/* "$root"/etc/powerdns/* "$root"/etc/prometheus/*
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/* "$root"/var/log/*
rm -f "$root/usr/sbin/policy-rc.d" "$root/etc/hostname" "$root/etc/resolv.conf"
mkdir -p "$root/var/log/nginx" "$root/var/lib/nginx" "$root/etc/powerdns/pdns.d" "$root/etc/nginx/conf.d" "$root/docker-entrypoint-initdb.d"
