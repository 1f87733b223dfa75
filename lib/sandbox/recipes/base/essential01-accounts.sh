#!/bin/sh
# Accounts with the numbers that the official images give them, before Debian's packages create them with numbers of its own.
set -eu
root=$1
account() { # NAME NUMBER HOME
  echo "$1:x:$2:$2::$3:/usr/sbin/nologin" >> "$root/etc/passwd"
  echo "$1:x:$2:" >> "$root/etc/group"
  echo "$1:!:::::::" >> "$root/etc/shadow"
}
account postgres 70 /var/lib/postgresql
account nginx 101 /nonexistent
account pdns 953 /var/spool/powerdns
# no server starts while its package is set up
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
mkdir -p "$root/etc/postgresql-common"
# no database of Debian's own: every container makes its own at first start
printf 'create_main_cluster = false\n' > "$root/etc/postgresql-common/createcluster.conf"
