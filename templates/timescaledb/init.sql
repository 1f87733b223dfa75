-- Runs once, in the database POSTGRES_DB, when the data folder is made; running it again changes nothing.
CREATE EXTENSION IF NOT EXISTS timescaledb;

-- Where applications keep their tables.
CREATE SCHEMA IF NOT EXISTS macula;
COMMENT ON SCHEMA macula IS 'Tables of Macula applications';

-- Found without a prefix, and new tables go there.
DO $$
BEGIN
  EXECUTE format('ALTER DATABASE %I SET search_path TO macula, public', current_database());
END
$$;
