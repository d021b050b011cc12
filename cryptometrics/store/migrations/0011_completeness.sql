-- Whether a feed can prove that it missed nothing, and until when it was heard.

ALTER TABLE feed_gaps ADD COLUMN proves boolean;

COMMENT ON COLUMN feed_gaps.proves IS 'Of a start: whether the feed can prove that it misses nothing that it sends. NULL if it does not say, and for every other kind.';
COMMENT ON COLUMN feed_gaps.kind IS 'start: the feed started; missed: the exchange skipped trades or frames; down: the connection broke; silence: nothing came over it; unreadable: what came could not be read; overflow: Kafka was unavailable for longer than the buffer lasts; end: the feed stopped in an orderly way.';
COMMENT ON COLUMN feed_gaps.begins_at IS 'By the receiver''s clock. For a start, the event time of the newest quote stored before it; NULL if there is none, and for an end.';
COMMENT ON COLUMN feed_gaps.ends_at IS 'When the pair was received again, by the receiver''s clock; for an end, when it was last heard.';

-- Without trade ids, the number of trades missed before a start is unknown.
UPDATE feed_gaps SET trades_missed = NULL
WHERE kind = 'start' AND begins_at IS NOT NULL AND first_trade_id IS NULL;
COMMENT ON COLUMN feed_gaps.trades_missed IS 'Number of missed trades; NULL if it is not known.';

-- Where a minute comes from, if not from the ticks of the topic: what imports minutes writes it.
ALTER TABLE crypto_windows ADD COLUMN origin text;
COMMENT ON COLUMN crypto_windows.origin IS 'NULL: the ticks of the topic; imported: prices from elsewhere, of a time before the feed.';
CREATE INDEX crypto_windows_imported ON crypto_windows (consumer_group, venue, pair, window_start) WHERE origin = 'imported';

-- As market.venues.is_simulated: a replay of simulated quotes is as little a market as the simulation.
CREATE FUNCTION crypto_is_simulated(venue text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT venue = 'simulated' OR starts_with(venue, 'simulated-replay') $$;

-- What is known of each market's minutes. The markets are found by one step each in the primary key.
CREATE VIEW crypto_markets AS
WITH RECURSIVE keys AS (
    (SELECT consumer_group, name, venue, pair, window_start FROM crypto_windows
     ORDER BY consumer_group, name, venue, pair, window_start LIMIT 1)
    UNION ALL
    SELECT next.* FROM keys CROSS JOIN LATERAL (
        SELECT w.consumer_group, w.name, w.venue, w.pair, w.window_start FROM crypto_windows w
        WHERE (w.consumer_group, w.name, w.venue, w.pair) > (keys.consumer_group, keys.name, keys.venue, keys.pair)
        ORDER BY w.consumer_group, w.name, w.venue, w.pair, w.window_start LIMIT 1
    ) AS next
)
SELECT m.consumer_group, m.venue, m.pair, m.first_minute, m.complete_until, m.heard_until,
    coalesce(known.gaps, '{}') AS gaps, coalesce(known.proven, '{}') AS proven
FROM (
    SELECT keys.consumer_group, keys.venue, keys.pair, keys.window_start AS first_minute,
        date_bin('1 minute', coalesce(
            (SELECT min(p.complete_until) FROM window_progress p
             WHERE (p.consumer_group, p.venue) = (keys.consumer_group, keys.venue)
               AND p.topic = (SELECT newest.topic FROM window_progress newest
                              WHERE (newest.consumer_group, newest.venue) = (keys.consumer_group, keys.venue)
                              ORDER BY newest.updated_at DESC, newest.topic LIMIT 1)),
            (SELECT w.window_end FROM crypto_windows w
             WHERE (w.consumer_group, w.name, w.venue, w.pair) = (keys.consumer_group, '1m', keys.venue, keys.pair)
               AND w.complete ORDER BY w.window_start DESC LIMIT 1),
            keys.window_start
        ), 'epoch') AS complete_until,
        max(greatest(
            (SELECT least(s.timestamp, s.recorded_at) FROM pair_state s
             WHERE (s.consumer_group, s.venue, s.pair) = (keys.consumer_group, keys.venue, keys.pair)),
            (SELECT max(g.ends_at) - interval '2 seconds' FROM feed_gaps g
             WHERE (g.consumer_group, g.venue, g.pair) = (keys.consumer_group, keys.venue, keys.pair))
        )) OVER (PARTITION BY keys.consumer_group, keys.venue) AS heard_until
    FROM keys WHERE keys.name = '1m'
) AS m
-- Records have the receiver's times: 2 s are left on both sides for a difference between the clocks. Records of one
-- time count in the order of the topic.
LEFT JOIN LATERAL (
    SELECT
        range_agg(tstzrange(date_bin('1 minute', lost_from - interval '2 seconds', 'epoch'),
                            date_bin('1 minute', ends_at + interval '62 seconds', 'epoch')))
            FILTER (WHERE lost_from <= ends_at) AS gaps,
        range_agg(tstzrange(proven_from, proven_until)) FILTER (WHERE proven_from < proven_until) AS proven
    FROM (
        SELECT g.ends_at,
            -- A start ends a gap that began with the newest sign of the pair before: a record, or a stored quote.
            CASE g.kind WHEN 'start' THEN greatest(lag(g.ends_at) OVER (ORDER BY g.ends_at, g.kafka_offset),
                                                   CASE WHEN g.begins_at <= g.ends_at THEN g.begins_at END)
                        WHEN 'end' THEN NULL
                        ELSE g.begins_at END AS lost_from,
            CASE WHEN g.kind = 'start' AND g.proves
                 THEN date_bin('1 minute', g.ends_at + interval '61.999999 seconds', 'epoch') END AS proven_from,
            -- What a start proves lasts until the next start or end, but no longer than the feed was heard.
            date_bin('1 minute', least(m.heard_until,
                lead(g.ends_at) OVER (PARTITION BY g.kind IN ('start', 'end') ORDER BY g.ends_at, g.kafka_offset)
                    - interval '2 seconds'), 'epoch') AS proven_until
        FROM feed_gaps g
        WHERE (g.consumer_group, g.venue, g.pair) = (m.consumer_group, m.venue, m.pair)
    ) AS records
) AS known ON true;

COMMENT ON VIEW crypto_markets IS 'One row per group, venue and pair with minutes: from when on, and until when they are complete. Small and fast.';
COMMENT ON COLUMN crypto_markets.first_minute IS 'Start of the first minute with a tick.';
COMMENT ON COLUMN crypto_markets.complete_until IS 'End of the last complete minute of the venue: the least watermark of its partitions in the topic that its newest ticks came from.';
COMMENT ON COLUMN crypto_markets.heard_until IS 'The newest sign of the venue''s feed: a tick by the exchange''s clock, or a gap record by the receiver''s, less 2 s.';
COMMENT ON COLUMN crypto_markets.gaps IS 'Ranges of whole minutes that a gap record overlaps, widened by 2 s on both sides. The record of a start is a gap since the newest sign of the pair before it.';
COMMENT ON COLUMN crypto_markets.proven IS 'Ranges of whole minutes in which the feed proves what it missed: from a start that says so to the next start or end, or to heard_until. Gaps are not left out.';

-- The minutes as a view, and as a function that reads only the pairs and the range that it is given: a series of
-- minutes cannot be cut short from outside. Both have the same text; without bounds they have the same rows.
DO $$
DECLARE
    minutes text := $text$
        SELECT m.consumer_group, m.pair, s.window_start, s.window_start + interval '1 minute' AS window_end,
            coalesce(w.ticks, 0) AS ticks, w.open, w.high, w.low, w.close, w.highest_bid, w.lowest_ask, w.avg_spread,
            w.max_spread, w.avg_spread_bps, coalesce(w.late, 0) AS late, w.spread_sum, w.spread_bps_sum,
            w.open_at, w.open_partition, w.open_offset, w.close_at, w.close_partition, w.close_offset,
            true AS complete, w.updated_at, '1m'::text AS name, m.venue,
            w.sized_ticks, w.bid_size_sum, w.ask_size_sum, w.trades, w.volume, w.notional, w.buy_volume,
            w.avg_bid_size, w.avg_ask_size, w.vwap,
            CASE WHEN s.has_gap THEN 'gap'
                 WHEN w.origin = 'imported' THEN 'imported'
                 WHEN crypto_is_simulated(m.venue) THEN 'simulated'
                 WHEN s.is_proven THEN 'verified'
                 ELSE 'unverified' END AS completeness
        FROM crypto_markets m
        -- OFFSET 0 makes the server compare here, so that it need not sort the ranges with each minute.
        CROSS JOIN LATERAL (
            SELECT minute AS window_start, minute <@ m.gaps AS has_gap, minute <@ m.proven AS is_proven
            FROM generate_series(%1$s, %2$s - interval '1 minute', interval '1 minute') AS minute
            OFFSET 0
        ) AS s
        %3$s
    $text$;
BEGIN
    EXECUTE 'CREATE VIEW crypto_windows_1m AS ' || format(minutes, 'm.first_minute', 'm.complete_until', $join$
        LEFT JOIN crypto_windows w
            ON (w.consumer_group, w.name, w.venue, w.pair, w.window_start)
             = (m.consumer_group, '1m', m.venue, m.pair, s.window_start)
    $join$);
    EXECUTE $function$
        CREATE FUNCTION crypto_minutes(of_group text, of_venue text, of_pairs text[], since timestamptz, until timestamptz)
        RETURNS SETOF crypto_windows_1m LANGUAGE sql STABLE PARALLEL SAFE BEGIN ATOMIC
    $function$ || format(minutes,
        'greatest(m.first_minute, date_bin(''1 minute'', since + interval ''59.999999 seconds'', ''epoch''))',
        'least(m.complete_until, date_bin(''1 minute'', until + interval ''59.999999 seconds'', ''epoch''))',
        $join$
        -- OFFSET 0: one read of the pair's range, and not one of each minute.
        LEFT JOIN LATERAL (
            SELECT * FROM crypto_windows
            WHERE (consumer_group, name, venue, pair) = (m.consumer_group, '1m', m.venue, m.pair)
              AND window_start >= coalesce(since, '-infinity') AND window_start < coalesce(until, 'infinity')
            OFFSET 0
        ) AS w ON w.window_start = s.window_start
        $join$
    ) || $function$
        WHERE (of_group IS NULL OR m.consumer_group = of_group) AND (of_venue IS NULL OR m.venue = of_venue)
          AND (of_pairs IS NULL OR m.pair = ANY (of_pairs));
        END
    $function$;
END
$$;

COMMENT ON FUNCTION crypto_minutes(text, text, text[], timestamptz, timestamptz) IS 'The rows of crypto_windows_1m that begin in a range, since inclusive and until exclusive, of a group, a venue and some pairs; NULL: no limit.';
COMMENT ON VIEW crypto_windows_1m IS 'Every minute of a pair from its first to the last complete one of its venue, empty ones too: ticks 0, and no prices. For a part of a long past use the function crypto_minutes.';
COMMENT ON COLUMN crypto_windows_1m.venue IS 'Where the quotes come from; venues never share a window.';
COMMENT ON COLUMN crypto_windows_1m.volume IS 'Sum of the sizes of the trades, in the base currency. Tickers may batch trades.';
COMMENT ON COLUMN crypto_windows_1m.completeness IS 'gap: a gap record overlaps the minute, widened by 2 s on both sides; imported, simulated: by where the minute comes from; verified: the feed proves that it missed nothing that it sends, and was heard after the minute; unverified: the feed may have missed something. Computed when read: a gap record that comes late changes it.';

-- A coarser window has the worst label of its minutes. Those that are not complete yet are unverified.
DO $$
DECLARE
    size text;
    name text;
BEGIN
    FOREACH size IN ARRAY ARRAY['5 minutes', '15 minutes', '1 hour', '4 hours', '1 day'] LOOP
        name := 'crypto_windows_' || split_part(size, ' ', 1) || left(split_part(size, ' ', 2), 1);
        EXECUTE format($view$
            CREATE OR REPLACE VIEW %1$I AS
            SELECT coarser.*,
                (ARRAY['gap', 'unverified', 'imported', 'simulated', 'verified'])[least(minutes.worst,
                    CASE WHEN crypto_is_simulated(coarser.venue) THEN 4 WHEN minutes.until >= coarser.window_end THEN 5 ELSE 2 END
                )] AS completeness
            FROM (%2$s) AS coarser
            LEFT JOIN (
                SELECT consumer_group, venue, pair, date_bin(%3$L, window_start, 'epoch') AS window_start,
                    min(array_position(ARRAY['gap', 'unverified', 'imported', 'simulated', 'verified'], completeness)) AS worst,
                    max(window_end) AS until
                FROM crypto_windows_1m
                GROUP BY consumer_group, venue, pair, date_bin(%3$L, window_start, 'epoch')
            ) AS minutes
                ON (minutes.consumer_group, minutes.venue, minutes.pair, minutes.window_start)
                 = (coarser.consumer_group, coarser.venue, coarser.pair, coarser.window_start)
        $view$, name, rtrim(pg_get_viewdef(name::regclass), E'; \n'), size);
        EXECUTE format('COMMENT ON COLUMN %I.completeness IS %L', name,
                       'The worst label of its minutes: gap, unverified, imported, simulated, verified, the worst first. Minutes that are not complete yet count as unverified, unless they are simulated.');
    END LOOP;
END
$$;

-- Where the role for reading is there already.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'cryptometrics_reader') THEN
        GRANT SELECT ON crypto_markets, crypto_windows_1m TO cryptometrics_reader;
    END IF;
END
$$;
