#!/bin/sh
# A config file alone means `registry serve` with it; a subcommand or a flag means the registry.
set -eu
case ${1-} in
  *.yml | *.yaml) set -- registry serve "$@" ;;
  serve | garbage-collect | help | -*) set -- registry "$@" ;;
esac
exec "$@"
