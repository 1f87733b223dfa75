#!/bin/sh
# What the script of Debian's iptables would have made: it did not run.
set -eu
root=$1
for tool in iptables ip6tables; do
  for name in $tool $tool-save $tool-restore; do
    [ -e "$root/usr/sbin/$name" ] || ln -s "$tool-nft${name#"$tool"}" "$root/usr/sbin/$name"
  done
done
