#!/bin/sh
# The account that the official image has for applications.
set -eu
root=$1
echo 'node:x:1000:1000::/home/node:/bin/sh' >> "$root/etc/passwd"
echo 'node:x:1000:' >> "$root/etc/group"
echo 'node:!:::::::' >> "$root/etc/shadow"
mkdir -p "$root/home/node"
chown 1000:1000 "$root/home/node"
