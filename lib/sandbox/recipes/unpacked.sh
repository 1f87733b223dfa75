# For the scripts of file systems whose packages are only unpacked: what the packages' own would have made.
account() { # NAME NUMBER HOME SHELL
  echo "$1:x:$2:$2::$3:$4" >> "$root/etc/passwd"
  echo "$1:x:$2:" >> "$root/etc/group"
  echo "$1:!:::::::" >> "$root/etc/shadow"
  chmod 640 "$root/etc/shadow"
}
libraries() {
  chroot "$root" ldconfig
}
certificates() {
  (cd "$root/usr/share/ca-certificates" && find * -name '*.crt' | sort) > "$root/etc/ca-certificates.conf"
  chroot "$root" update-ca-certificates > /dev/null
}
