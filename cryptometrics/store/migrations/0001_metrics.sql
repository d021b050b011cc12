-- The metrics of every tick, the state they are computed from, and the books that account for every offset.

-- A table of the original shape stays as it is, under another name.
DO $$
BEGIN
    IF to_regclass('crypto_metrics') IS NOT NULL THEN
        ALTER TABLE crypto_metrics RENAME TO crypto_metrics_original;
    END IF;
END
$$;

-- A session takes ids in blocks, so that a row costs no visit to the sequence.
CREATE SEQUENCE crypto_metrics_ids AS bigint CACHE 1000;

CREATE TABLE crypto_metrics (
    id              bigint      NOT NULL DEFAULT nextval('crypto_metrics_ids'),
    pair            text        NOT NULL,
    bid             numeric     NOT NULL,
    ask             numeric     NOT NULL,
    mid_price       numeric     NOT NULL,
    spread          numeric     NOT NULL,
    highest_bid     numeric     NOT NULL,
    lowest_ask      numeric     NOT NULL,
    max_spread      numeric     NOT NULL,
    timestamp       timestamptz NOT NULL,
    consumer_group  text        NOT NULL,
    session         text        NOT NULL,
    kind            text        NOT NULL,
    trade_id        bigint,
    kafka_partition integer     NOT NULL,
    kafka_offset    bigint      NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (timestamp);

-- Rows arrive nearly in the order of their time, so a block-range index finds a time range, and with it a
-- tick's repetition, at a hundredth of a B-tree's cost per row.
CREATE INDEX crypto_metrics_timestamp ON crypto_metrics
    USING brin (timestamp timestamptz_minmax_multi_ops) WITH (pages_per_range = 32);

COMMENT ON TABLE crypto_metrics IS 'One row per valid tick and consumer group, written exactly once; partitioned by day of timestamp (UTC).';
COMMENT ON COLUMN crypto_metrics.pair IS 'BASE-QUOTE, such as BTC-USD; all prices of the row are in the quote currency.';
COMMENT ON COLUMN crypto_metrics.bid IS 'Best bid of the tick.';
COMMENT ON COLUMN crypto_metrics.ask IS 'Best ask of the tick.';
COMMENT ON COLUMN crypto_metrics.mid_price IS '(bid + ask) / 2, exact.';
COMMENT ON COLUMN crypto_metrics.spread IS 'ask - bid; 0 when the quote is locked.';
COMMENT ON COLUMN crypto_metrics.highest_bid IS 'Highest bid of the pair in the session up to and including this tick, in the order of the topic.';
COMMENT ON COLUMN crypto_metrics.lowest_ask IS 'Lowest ask of the pair in the session up to and including this tick, in the order of the topic.';
COMMENT ON COLUMN crypto_metrics.max_spread IS 'Largest spread of the pair in the session up to and including this tick, in the order of the topic.';
COMMENT ON COLUMN crypto_metrics.timestamp IS 'The exchange''s time of the tick (event time).';
COMMENT ON COLUMN crypto_metrics.consumer_group IS 'The reader of the topic that wrote the row; groups are independent.';
COMMENT ON COLUMN crypto_metrics.session IS 'What the extremes run across: the UTC day of timestamp, or a given name.';
COMMENT ON COLUMN crypto_metrics.kind IS 'ticker: the quote beside a trade; quote: rebuilt from the order book.';
COMMENT ON COLUMN crypto_metrics.trade_id IS 'The exchange''s number of the trade, counted per pair; NULL without a trade.';
COMMENT ON COLUMN crypto_metrics.kafka_offset IS 'Where in the topic the tick stands, with kafka_partition.';
COMMENT ON COLUMN crypto_metrics.recorded_at IS 'When the transaction that wrote the row began.';

-- Makes the partition of one day (UTC), unless it has one. To make it apart and then attach it waits for no open batch.
CREATE FUNCTION crypto_metrics_add_day(day date) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    name text := 'crypto_metrics_' || to_char(day, 'YYYYMMDD');
    begins timestamptz := day::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF begins < crypto_metrics_first_day() OR to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('crypto_metrics_add_day'));
    -- Not to_regclass again: it would remember that there was none, whoever has made it meanwhile.
    IF EXISTS (SELECT FROM pg_class c WHERE c.relname = name
               AND c.relnamespace = (SELECT p.relnamespace FROM pg_class p WHERE p.oid = 'crypto_metrics'::regclass)) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE crypto_metrics INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', name);
    EXECUTE format('ALTER TABLE crypto_metrics ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name,
                   begins, begins + interval '24 hours');
END
$$;

-- Brings the block-range indexes of these days up to date, unless another session is at it. Blocks that no
-- index knows have to be read by every search; PostgreSQL itself would come to them minutes later.
CREATE FUNCTION crypto_metrics_summarize(days date[]) RETURNS void
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
      AND (c.relname = 'crypto_metrics_before'
           OR c.relname = ANY (SELECT 'crypto_metrics_' || to_char(day, 'YYYYMMDD') FROM unnest(days) AS day));
END
$$;

-- Everything older than today has one partition: an old capture makes no thousand tables.
DO $$
BEGIN
    EXECUTE format('CREATE TABLE crypto_metrics_before PARTITION OF crypto_metrics FOR VALUES FROM (MINVALUE) TO (%L)',
                   date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC');
END
$$;

-- The first day that has a partition of its own: the bound of the one above.
CREATE FUNCTION crypto_metrics_first_day() RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT substring(pg_get_expr(relpartbound, oid) FROM 'TO \(''(.*)''\)')::timestamptz
    FROM pg_class WHERE oid = 'crypto_metrics_before'::regclass
$$;

CREATE TABLE session_extremes (
    consumer_group  text        NOT NULL,
    pair            text        NOT NULL,
    session         text        NOT NULL,
    highest_bid     numeric     NOT NULL,
    highest_bid_at  timestamptz NOT NULL,
    lowest_ask      numeric     NOT NULL,
    lowest_ask_at   timestamptz NOT NULL,
    max_spread      numeric     NOT NULL,
    max_spread_at   timestamptz NOT NULL,
    last_bid        numeric     NOT NULL,
    last_ask        numeric     NOT NULL,
    last_at         timestamptz NOT NULL,
    first_at        timestamptz NOT NULL,
    ticks           bigint      NOT NULL,
    late            bigint      NOT NULL,
    PRIMARY KEY (consumer_group, pair, session)
) WITH (fillfactor = 50);
COMMENT ON TABLE session_extremes IS 'Per group, pair and session: the extremes, the event time that set each, the newest quote, and how many ticks.';
COMMENT ON COLUMN session_extremes.last_at IS 'Event time of the newest quote; a late tick does not replace it.';
COMMENT ON COLUMN session_extremes.late IS 'Ticks whose trade_id lay below one already stored.';

CREATE TABLE pair_state (
    consumer_group  text        NOT NULL,
    pair            text        NOT NULL,
    bid             numeric     NOT NULL,
    ask             numeric     NOT NULL,
    timestamp       timestamptz NOT NULL,
    trade_id        bigint,
    trade_ids       int8multirange NOT NULL DEFAULT '{}',
    trade_ids_floor bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (consumer_group, pair)
) WITH (fillfactor = 50);
COMMENT ON TABLE pair_state IS 'Per group and pair: the newest quote by event time, and which trade_ids are stored.';
COMMENT ON COLUMN pair_state.trade_id IS 'The highest trade_id stored.';
COMMENT ON COLUMN pair_state.trade_ids IS 'All trade_ids stored from trade_ids_floor upwards: what a tick that comes late is checked against.';

CREATE TABLE consumer_offsets (
    consumer_group  text        NOT NULL,
    topic           text        NOT NULL,
    kafka_partition integer     NOT NULL,
    topic_id        text        NOT NULL,
    first_offset    bigint      NOT NULL,
    next_offset     bigint      NOT NULL,
    metrics         bigint      NOT NULL DEFAULT 0,
    rejected        bigint      NOT NULL DEFAULT 0,
    gaps            bigint      NOT NULL DEFAULT 0,
    duplicates      bigint      NOT NULL DEFAULT 0,
    holes           bigint      NOT NULL DEFAULT 0,
    epoch           bigint      NOT NULL,
    owner           text        NOT NULL,
    backend_pid     integer     NOT NULL,
    backend_start   timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    begun_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at        timestamptz,
    PRIMARY KEY (consumer_group, topic, kafka_partition)
) WITH (fillfactor = 25);
COMMENT ON TABLE consumer_offsets IS 'The books: metrics + rejected + gaps + duplicates + holes = next_offset - first_offset, at any moment.';
COMMENT ON COLUMN consumer_offsets.topic IS 'The topic; of one that was made again the old books go on as NAME@ID.';
COMMENT ON COLUMN consumer_offsets.ended_at IS 'When the books were closed because the topic was made again; their rows were recorded from begun_at until then.';
COMMENT ON COLUMN consumer_offsets.epoch IS 'Raised by each claim of the partition; a writer with an older one is fenced.';
COMMENT ON COLUMN consumer_offsets.backend_pid IS 'The owner''s database session, to be ended by a new owner where it holds a lock and sleeps.';

-- The offsets that left no row anywhere, so that none can stand in for a lost record.
CREATE TABLE skipped_offsets (
    consumer_group  text        NOT NULL,
    topic           text        NOT NULL,
    kafka_partition integer     NOT NULL,
    first_offset    bigint      NOT NULL,
    last_offset     bigint      NOT NULL,
    reason          text        NOT NULL CHECK (reason IN ('duplicate', 'hole', 'lost')),
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer_group, topic, kafka_partition, first_offset),
    CHECK (first_offset <= last_offset)
);
COMMENT ON TABLE skipped_offsets IS 'Ranges of offsets without a row: duplicates of the feed, holes that Kafka itself leaves, and data lost before it was read.';

CREATE TABLE rejected_ticks (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer_group  text        NOT NULL,
    topic           text        NOT NULL,
    kafka_partition integer     NOT NULL,
    kafka_offset    bigint      NOT NULL,
    reason          text        NOT NULL,
    detail          text        NOT NULL,
    key             bytea,
    value           bytea,
    kafka_timestamp timestamptz,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    requeued_at     timestamptz,
    UNIQUE (consumer_group, topic, kafka_partition, kafka_offset)
);
COMMENT ON TABLE rejected_ticks IS 'Every message that was no valid tick, whole, with the reason.';
