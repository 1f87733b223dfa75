#!/bin/sh
# Starts PostgreSQL with the users and the passwords of today. The image looks at POSTGRES_USER and POSTGRES_PASSWORD_FILE only while
# it makes the data folder, so a password changed in .env would never arrive. Where there is a folder already, the server runs
# once on its own, without network or clients, to make the users what the settings say.
set -eu

PGDATA=${PGDATA:-/var/lib/postgresql/data}
export PGDATA
scripts=$(dirname "$0")

if [ -s "$PGDATA/PG_VERSION" ]; then
  owner=$(sh "$scripts/role.sh" "$POSTGRES_USER" "$POSTGRES_PASSWORD_FILE" 'SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS')
  metrics=$(sh "$scripts/metrics-role.sh")
  # One line each, as single-user mode wants it, and on standard input, where no process list shows it. The lock file of a container
  # that was killed names process 1, which is this script now: PG_GRANDPARENT_PID tells PostgreSQL that this is no other server.
  # It prints what it does and its prompts on standard output; errors come on standard error. The user stands last, because not
  # every su takes options behind it.
  printf '%s\n%s\n' "$owner" "$metrics" |
    su -s /bin/sh -c 'PG_GRANDPARENT_PID=1 exec postgres --single -c shared_preload_libraries= -c log_min_error_statement=panic postgres' postgres >/dev/null
fi

exec docker-entrypoint.sh "$@"
