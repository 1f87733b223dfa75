#!/bin/sh
# Puts packages with all they depend on into the machine's own archive and makes it the only one apt knows there.
# usage: archive.sh ROOT "PACKAGE…"…   (each argument is resolved on its own)
set -eu
root=$1
shift
archive=$root/srv/packages
mkdir -p "$archive"
chroot "$root" apt-get clean
for packages in "$@"; do
  # shellcheck disable=SC2086 # names, separated by spaces
  chroot "$root" apt-get -q -y -o APT::Install-Recommends=false install --download-only $packages
done
mv "$root"/var/cache/apt/archives/*.deb "$archive"
for file in "$archive"/*.deb; do
  dpkg-deb --field "$file"
  printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "${file##*/}" "$(stat --format %s "$file")" "$(sha256sum "$file" | cut -d' ' -f1)"
done >"$archive/Packages"
rm -rf "$root"/etc/apt/sources.list.d/* "$root"/var/lib/apt/lists/*
echo 'deb [trusted=yes] file:/srv/packages ./' >"$root/etc/apt/sources.list"
chroot "$root" apt-get -q update
