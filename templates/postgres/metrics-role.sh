# Prints the SQL of the role that Prometheus' exporter logs in as: it may read statistics, and no table.
sh "${0%/*}/role.sh" macula_metrics "$POSTGRES_METRICS_PASSWORD_FILE" 'CONNECTION LIMIT 5 IN ROLE pg_monitor'
