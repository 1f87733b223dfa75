#!/bin/bash
# The extension in every database there is, and in the template of those to come.
set -euo pipefail
level=basic
[ "${TIMESCALEDB_TELEMETRY:-}" = off ] && level=off
for database in postgres template1 "$POSTGRES_DB"; do
  psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$database" --command='CREATE EXTENSION IF NOT EXISTS timescaledb CASCADE'
done
echo "timescaledb.telemetry_level = $level" >> "$PGDATA/postgresql.conf"
