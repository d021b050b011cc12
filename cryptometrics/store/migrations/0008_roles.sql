-- What the writer may have done with the owner's rights, since it has no right to change tables itself: the
-- partition of a day that ticks can be of, and bringing indexes up to date. Nothing else.

CREATE OR REPLACE FUNCTION crypto_metrics_day_name(day date) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT 'crypto_metrics_' || pg_catalog.to_char(day::timestamp, 'YYYYMMDD') $$;

-- As before, but for no day that lies further ahead than ticks do: they are at most a day ahead of the worker's
-- clock, which may differ from the server's. Who may call this could make tables without end otherwise.
CREATE OR REPLACE FUNCTION crypto_metrics_add_day(day date) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    name text := crypto_metrics_day_name(day);
    begins timestamptz := day::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF (day <= (now() AT TIME ZONE 'UTC')::date + 2) IS NOT TRUE THEN
        -- Of a class that workers take as passing: they wait until a person has set a clock right.
        RAISE EXCEPTION 'the day % is more than two days ahead of this server: compare its clock with the worker''s', day
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF begins < crypto_metrics_first_day()
       OR EXISTS (SELECT FROM crypto_metrics_days d WHERE d.day = crypto_metrics_add_day.day AND d.attached) THEN
        RETURN;
    END IF;
    PERFORM crypto_metrics_finish_pruning(day);
    -- Whoever has made it meanwhile held the lock that we have now.
    IF EXISTS (SELECT FROM crypto_metrics_days d WHERE d.day = crypto_metrics_add_day.day AND d.attached) THEN
        RETURN;
    END IF;
    IF to_regclass(name) IS NOT NULL THEN
        RAISE EXCEPTION 'the table % stands where the partition of that day belongs: attach it, rename it or drop it', name
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE crypto_metrics INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', name);
    EXECUTE format('ALTER TABLE crypto_metrics ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name,
                   begins, begins + interval '24 hours');
END
$$;

-- With the owner's rights goes a search path that nobody else can put anything into: pg_catalog comes first by
-- itself, temporary objects come last.
DO $$
DECLARE
    path text := format('search_path = %I, pg_temp', current_schema());
BEGIN
    EXECUTE 'ALTER FUNCTION crypto_metrics_add_day(date) SECURITY DEFINER SET ' || path;
    EXECUTE 'ALTER FUNCTION crypto_metrics_summarize(date[]) SECURITY DEFINER SET ' || path;
END
$$;

REVOKE EXECUTE ON FUNCTION crypto_metrics_add_day(date), crypto_metrics_summarize(date[]),
    crypto_metrics_finish_pruning(date), crypto_metrics_note_pruned(date, date) FROM PUBLIC;
