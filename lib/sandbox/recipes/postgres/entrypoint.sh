#!/bin/bash
# Starts PostgreSQL; makes the data folder first where there is none. While it is made, the server answers on its socket only.
# POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD (or <NAME>_FILE), POSTGRES_HOST_AUTH_METHOD and POSTGRES_INITDB_ARGS as in the official image.
set -eo pipefail

# from_file NAME [DEFAULT]: the variable, or the content of the file that NAME_FILE names
from_file() {
  local file=${1}_FILE
  if [ -n "${!1:-}" ] && [ -n "${!file:-}" ]; then
    echo "both $1 and $file are set" >&2
    exit 1
  fi
  if [ -n "${!file:-}" ]; then
    export "$1=$(cat "${!file}")"
  else
    export "$1=${!1:-${2:-}}"
  fi
  unset "$file"
}

case ${1-} in -*) set -- postgres "$@" ;; esac
[ "${1-}" = postgres ] || exec "$@"

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /var/run/postgresql
  chown postgres "$PGDATA" /var/run/postgresql
  chmod 700 "$PGDATA"
  chmod 3777 /var/run/postgresql
  # as the server's user from here on; --init-groups would need its home
  exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi
[ -s "$PGDATA/PG_VERSION" ] && exec "$@"

from_file POSTGRES_USER postgres
from_file POSTGRES_DB "$POSTGRES_USER"
from_file POSTGRES_PASSWORD
method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
if [ -z "$POSTGRES_PASSWORD" ] && [ "$method" != trust ]; then
  echo 'POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE has to be set for a new database' >&2
  exit 1
fi

# shellcheck disable=SC2086 # several arguments in one variable, as the official image takes them
initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") ${POSTGRES_INITDB_ARGS:-}
printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"
printf "\nlisten_addresses = '*'\n" >> "$PGDATA/postgresql.conf"
for preload in /usr/local/share/postgres-preload/*; do
  [ -e "$preload" ] && printf "shared_preload_libraries = '%s'\n" "$(cat "$preload")" >> "$PGDATA/postgresql.conf"
done

pg_ctl --pgdata="$PGDATA" -o "-c listen_addresses=''" --wait --silent start
query() { psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" "$@"; }
if [ "$POSTGRES_DB" != postgres ]; then
  query --dbname=postgres --set=name="$POSTGRES_DB" <<< 'CREATE DATABASE :"name"'
fi
for file in /docker-entrypoint-initdb.d/*; do
  echo "$0: $file"
  case $file in
    *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
    *.sql) query --dbname="$POSTGRES_DB" --file="$file" ;;
    *.sql.gz) gunzip -c "$file" | query --dbname="$POSTGRES_DB" ;;
  esac
done
pg_ctl --pgdata="$PGDATA" --mode=fast --wait --silent stop
unset POSTGRES_PASSWORD
exec "$@"
