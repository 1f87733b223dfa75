# The healthcheck of the container. It also tries the TCP ports of services that do not speak HTTP, which nginx itself cannot, and writes
# a file for each that accepts connections; the portal reads these. PostgreSQL does not log a connection that sends nothing.
mkdir -p /tmp/health
probe() {
  if command -v nc >/dev/null; then
    nc -z -w 2 "$2" "$3"
  else
    timeout 2 bash -c ': <"/dev/tcp/$0/$1"' "$2" "$3"
  fi >/dev/null 2>&1 && date >"/tmp/health/$1" || rm -f "/tmp/health/$1"
}
{{probes}}wait
exec wget -q --spider http://127.0.0.1/healthz
