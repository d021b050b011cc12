-- Days that are dropped whole, and the counts that they leave behind, so that the books still balance.

-- Counted by each batch's own transaction: to count at the end would mean to read what is dropped.
CREATE TABLE metric_days (
    consumer_group  text    NOT NULL,
    topic           text    NOT NULL,
    kafka_partition integer NOT NULL,
    day             date    NOT NULL,
    rows            bigint  NOT NULL,
    first_offset    bigint  NOT NULL,
    last_offset     bigint  NOT NULL,
    PRIMARY KEY (consumer_group, topic, kafka_partition, day)
) WITH (fillfactor = 50);
COMMENT ON TABLE metric_days IS 'What crypto_metrics holds: per group, partition and day (UTC) of timestamp, how many rows and between which offsets.';

-- A day may be pruned more than once: a tick that comes late makes its partition again.
CREATE TABLE pruned_days (
    consumer_group  text        NOT NULL,
    topic           text        NOT NULL,
    kafka_partition integer     NOT NULL,
    day             date        NOT NULL,
    rows            bigint      NOT NULL,
    first_offset    bigint      NOT NULL,
    last_offset     bigint      NOT NULL,
    pruned_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer_group, topic, kafka_partition, day, pruned_at)
);
COMMENT ON TABLE pruned_days IS 'What crypto_metrics held and prune dropped: the line of metric_days as it was then.';

CREATE TABLE pruning_days (
    day      date        PRIMARY KEY,
    begun_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE pruning_days IS 'Days whose partition prune is taking away: told from those that someone took away by hand.';

-- Rows that are there already; those of a topic that was made again are known by when they were recorded.
INSERT INTO metric_days
SELECT m.consumer_group, b.topic, m.kafka_partition, (m.timestamp AT TIME ZONE 'UTC')::date,
       count(*), min(m.kafka_offset), max(m.kafka_offset)
FROM crypto_metrics m
JOIN (SELECT *, lag(ended_at) OVER (PARTITION BY consumer_group, kafka_partition ORDER BY ended_at) AS begins
      FROM consumer_offsets) AS b
  ON (b.consumer_group, b.kafka_partition) = (m.consumer_group, m.kafka_partition)
 AND m.recorded_at >= coalesce(b.begins, '-infinity') AND m.recorded_at < coalesce(b.ended_at, 'infinity')
GROUP BY 1, 2, 3, 4;

CREATE FUNCTION crypto_metrics_day_name(day date) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT 'crypto_metrics_' || to_char(day, 'YYYYMMDD') $$;

-- All partitions of days, also those that are being detached: ticks find no way into these any more.
CREATE VIEW crypto_metrics_days AS
SELECT to_date(substring(c.relname FROM '^crypto_metrics_([0-9]{8})$'), 'YYYYMMDD') AS day,
       c.oid AS relation, NOT i.inhdetachpending AS attached
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'crypto_metrics'::regclass AND c.relname <> 'crypto_metrics_before';
COMMENT ON VIEW crypto_metrics_days IS 'The partitions of crypto_metrics that hold one day each.';

-- Moves the counts of what is dropped by the same transaction to where they stay.
CREATE FUNCTION crypto_metrics_note_pruned(first_day date, last_day date) RETURNS void
LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM metric_days WHERE day BETWEEN first_day AND last_day RETURNING *)
    INSERT INTO pruned_days SELECT * FROM gone
$$;

-- Takes away what is left of a day that is being pruned, if it is: whoever comes first, prune or a tick that
-- needs the day again. All that could write to it have ended before its DETACH ends, so its counts are final.
CREATE FUNCTION crypto_metrics_finish_pruning(pruned date) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '2s' AS $$
DECLARE
    name text := crypto_metrics_day_name(pruned);
    is_attached boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('crypto_metrics_add_day'));
    SELECT attached INTO is_attached FROM crypto_metrics_days WHERE day = pruned;
    IF is_attached OR NOT EXISTS (SELECT FROM pruning_days WHERE day = pruned) THEN
        RETURN;
    END IF;
    IF is_attached IS NOT NULL THEN
        EXECUTE format('ALTER TABLE crypto_metrics DETACH PARTITION %I FINALIZE', name);
    END IF;
    EXECUTE format('DROP TABLE IF EXISTS %I', name);
    PERFORM crypto_metrics_note_pruned(pruned, pruned);
    DELETE FROM pruning_days WHERE day = pruned;
END
$$;

-- As before, but for a day that is being pruned: that is brought to its end, and the partition made anew.
CREATE OR REPLACE FUNCTION crypto_metrics_add_day(day date) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    name text := crypto_metrics_day_name(day);
    begins timestamptz := day::timestamp AT TIME ZONE 'UTC';
BEGIN
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
        -- Of a class that workers take as passing: they wait until a person has seen to it.
        RAISE EXCEPTION 'the table % stands where the partition of that day belongs: attach it, rename it or drop it', name
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE crypto_metrics INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', name);
    EXECUTE format('ALTER TABLE crypto_metrics ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name,
                   begins, begins + interval '24 hours');
END
$$;

-- As before, but a day may be pruned meanwhile: what else there is to do is done the next time.
CREATE OR REPLACE FUNCTION crypto_metrics_summarize(days date[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('crypto_metrics_summarize')) THEN
        RETURN;
    END IF;
    PERFORM brin_summarize_new_values(i.indexrelid)
    FROM pg_inherits p
    JOIN pg_class c ON c.oid = p.inhrelid
    JOIN pg_index i ON i.indrelid = c.oid
    JOIN pg_class x ON x.oid = i.indexrelid
    JOIN pg_am a ON a.oid = x.relam AND a.amname = 'brin'
    WHERE p.inhparent = 'crypto_metrics'::regclass
      AND (c.relname = 'crypto_metrics_before' OR c.relname = ANY (SELECT crypto_metrics_day_name(day) FROM unnest(days) AS day));
EXCEPTION WHEN undefined_table THEN
    NULL;
END
$$;
