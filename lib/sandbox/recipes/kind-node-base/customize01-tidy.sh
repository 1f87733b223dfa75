#!/bin/sh
# What every node makes for itself.
set -eu
root=$1
rm -f "$root"/etc/machine-id "$root"/etc/cni/net.d/*
