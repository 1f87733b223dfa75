# Read by the image's entry point, once, while it makes the data folder; start.sh does the same at every later start.
sh /usr/local/lib/macula/metrics-role.sh |
  psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB"
