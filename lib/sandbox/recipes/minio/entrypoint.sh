#!/bin/sh
# A subcommand alone means the server program, under whichever of its names.
set -eu
case ${1-} in
  minio | silo) shift; exec minio "$@" ;;
  *) exec minio "$@" ;;
esac
