#!/bin/sh
# role.sh NAME PASSWORD_FILE ATTRIBUTES
# Prints, on one line, the SQL that gives a role the password in the file, and makes it with these attributes where there is none of
# that name. Printed rather than run, so that the password goes from file to server over pipes, where no process list shows it.
set -eu

# a text as an SQL literal
literal() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; }

name=$(literal "$1")
password=$(literal "$(cat "$2")")
printf 'DO $macula$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = %s) THEN EXECUTE format($f$CREATE ROLE %%I LOGIN %s$f$, %s); END IF; EXECUTE format($f$ALTER ROLE %%I PASSWORD %%L$f$, %s, %s); END $macula$;\n' \
  "$name" "$3" "$name" "$name" "$password"
