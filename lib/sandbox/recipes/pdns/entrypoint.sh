#!/bin/sh
# An API key in the environment, or in the file it names, turns on the web server and the API.
set -eu
if [ -n "${PDNS_AUTH_API_KEY_FILE-}" ]; then
  PDNS_AUTH_API_KEY=$(cat "$PDNS_AUTH_API_KEY_FILE")
fi
if [ -n "${PDNS_AUTH_API_KEY-}" ]; then
  umask 077
  printf '%s\n' webserver api "api-key=$PDNS_AUTH_API_KEY" "webserver-password=$PDNS_AUTH_API_KEY" \
    webserver-address=0.0.0.0 webserver-allow-from=0.0.0.0/0 > /etc/powerdns/pdns.d/_api.conf
fi
if [ -n "${TEMPLATE_FILES-}" ]; then
  echo 'TEMPLATE_FILES needs the official image: this stand-in renders no templates' >&2
  exit 1
fi
exec pdns_server --disable-syslog "$@"
