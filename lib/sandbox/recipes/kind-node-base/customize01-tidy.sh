#!/bin/sh
set -eu
root=$1
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/* "$root"/var/log/*
rm -f "$root"/etc/hostname "$root"/etc/resolv.conf "$root"/etc/machine-id "$root"/etc/cni/net.d/*
