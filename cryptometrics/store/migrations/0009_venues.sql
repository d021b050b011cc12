-- Every number belongs to a venue. What earlier versions stored counts as coinbase, whatever it came from: they
-- did not note it. Only keys are built anew; a column with a constant default costs no pass over its table.

-- Step: the venue of each quote
ALTER TABLE crypto_metrics ADD COLUMN venue text NOT NULL DEFAULT 'coinbase';
COMMENT ON COLUMN crypto_metrics.venue IS 'Where the quote comes from: an exchange''s feed such as coinbase, or simulated. Prices of different venues never mix.';
COMMENT ON COLUMN crypto_metrics.highest_bid IS 'Highest bid of the venue and pair in the session up to and including this tick, in the order of the topic.';
COMMENT ON COLUMN crypto_metrics.lowest_ask IS 'Lowest ask of the venue and pair in the session up to and including this tick, in the order of the topic.';
COMMENT ON COLUMN crypto_metrics.max_spread IS 'Largest spread of the venue and pair in the session up to and including this tick, in the order of the topic.';

-- Step: the keys of sessions, pairs, gaps and alerts
ALTER TABLE session_extremes ADD COLUMN venue text NOT NULL DEFAULT 'coinbase';
ALTER TABLE pair_state ADD COLUMN venue text NOT NULL DEFAULT 'coinbase';
ALTER TABLE feed_gaps ADD COLUMN venue text NOT NULL DEFAULT 'coinbase';
ALTER TABLE alerts ADD COLUMN venue text NOT NULL DEFAULT 'coinbase';
ALTER TABLE alert_states ADD COLUMN venue text NOT NULL DEFAULT 'coinbase';
ALTER TABLE crypto_windows ADD COLUMN venue text NOT NULL DEFAULT 'coinbase';
ALTER TABLE crypto_windows_too_late ADD COLUMN venue text NOT NULL DEFAULT 'coinbase';

-- The key of a table may have any name: PostgreSQL chose one that was free.
CREATE FUNCTION pg_temp.replace_key(of_table regclass, columns text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I, ADD PRIMARY KEY (%s)', of_table,
                   (SELECT conname FROM pg_constraint WHERE conrelid = of_table AND contype = 'p'), columns);
END
$$;

SELECT pg_temp.replace_key('session_extremes', 'consumer_group, venue, pair, session');
SELECT pg_temp.replace_key('pair_state', 'consumer_group, venue, pair');
SELECT pg_temp.replace_key('alert_states', 'consumer_group, rule, venue, pair');
SELECT pg_temp.replace_key('crypto_windows_too_late', 'consumer_group, name, venue, pair, window_start');

DROP INDEX feed_gaps_ends_at;
CREATE INDEX feed_gaps_ends_at ON feed_gaps (consumer_group, venue, pair, ends_at);

-- A rule about rejected ticks is about a partition, which has no venue.
UPDATE alerts SET venue = '' WHERE pair LIKE 'partition %';
UPDATE alert_states SET venue = '' WHERE pair LIKE 'partition %';
DROP INDEX alerts_firing;
CREATE UNIQUE INDEX alerts_firing ON alerts (consumer_group, rule, venue, pair) WHERE resolved_at IS NULL;

COMMENT ON TABLE session_extremes IS 'Per group, venue, pair and session: the extremes, the event time that set each, the newest quote, and how many ticks.';
COMMENT ON COLUMN session_extremes.venue IS 'As in crypto_metrics.';
COMMENT ON TABLE pair_state IS 'Per group, venue and pair: the newest quote by event time, and which trade_ids are stored.';
COMMENT ON COLUMN pair_state.venue IS 'As in crypto_metrics; each venue numbers its trades itself.';
COMMENT ON COLUMN feed_gaps.venue IS 'The venue of the feed that missed something.';
COMMENT ON COLUMN alerts.venue IS 'The venue of the pair; empty for a rule about rejected ticks.';
COMMENT ON COLUMN alert_states.venue IS 'As in alerts.';
COMMENT ON COLUMN crypto_windows_too_late.venue IS 'As in crypto_metrics.';

-- Step: the key of the minutes (about 5 s per million)
SELECT pg_temp.replace_key('crypto_windows', 'consumer_group, name, venue, pair, window_start');
DROP FUNCTION pg_temp.replace_key(regclass, text);
COMMENT ON TABLE crypto_windows IS 'Per group, name, venue, pair and window: what its ticks amount to. Those named 1m are the minutes that process keeps, in the transaction of their ticks.';
COMMENT ON COLUMN crypto_windows.venue IS 'As in crypto_metrics.';

-- Step: the watermark of each venue
CREATE TABLE window_progress (
    consumer_group  text        NOT NULL,
    topic           text        NOT NULL,
    kafka_partition integer     NOT NULL,
    venue           text        NOT NULL,
    complete_until  timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer_group, topic, kafka_partition, venue)
) WITH (fillfactor = 25);
COMMENT ON TABLE window_progress IS 'Per group, partition and venue: how far its minutes are complete. Written with each batch.';
COMMENT ON COLUMN window_progress.complete_until IS 'The watermark: minutes that end until then get no more ticks, except late ones.';
COMMENT ON COLUMN window_progress.updated_at IS 'When the batch of the venue''s newest tick in the partition was written.';

-- The newest minute of a partition was always open, so open minutes show how far each partition had come.
INSERT INTO window_progress (consumer_group, topic, kafka_partition, venue, complete_until, updated_at)
SELECT w.consumer_group, o.topic, w.close_partition, w.venue,
       least(max(w.close_at), now()) - interval '2 seconds', max(w.updated_at)
FROM crypto_windows w
JOIN consumer_offsets o ON (o.consumer_group, o.kafka_partition) = (w.consumer_group, w.close_partition)
 AND o.ended_at IS NULL
WHERE w.name = '1m' AND NOT w.complete
GROUP BY w.consumer_group, o.topic, w.close_partition, w.venue;

-- Step: the views
CREATE OR REPLACE VIEW crypto_quotes AS
SELECT consumer_group, pair, session, timestamp AS quoted_at, bid, ask, mid_price, spread,
       round(10000 * spread / mid_price, 4) AS spread_bps,
       highest_bid AS session_highest_bid, lowest_ask AS session_lowest_ask, max_spread AS session_max_spread,
       kind, trade_id, recorded_at, extract(epoch FROM recorded_at - timestamp) AS delay_seconds,
       kafka_partition, kafka_offset, venue
FROM crypto_metrics;
COMMENT ON VIEW crypto_quotes IS 'Every stored quote, one row each: a time range (quoted_at), a venue and a pair make it fast.';
COMMENT ON COLUMN crypto_quotes.venue IS 'Where the quote comes from: an exchange''s feed such as coinbase, or simulated. Choose one.';
COMMENT ON COLUMN crypto_quotes.trade_id IS 'The venue''s number of the trade, counted per pair; NULL without a trade.';

CREATE OR REPLACE VIEW crypto_sessions AS
SELECT consumer_group, pair, session, first_at, last_at, ticks, late, last_bid AS bid, last_ask AS ask,
       (last_bid + last_ask) / 2 AS mid_price, last_ask - last_bid AS spread,
       round(20000 * (last_ask - last_bid) / (last_bid + last_ask), 4) AS spread_bps,
       highest_bid, highest_bid_at, lowest_ask, lowest_ask_at, max_spread, max_spread_at, venue
FROM session_extremes;
COMMENT ON VIEW crypto_sessions IS 'One row per group, venue, pair and session: the extremes, when each was set, and the newest quote. Small and fast.';
COMMENT ON COLUMN crypto_sessions.venue IS 'Where the quotes come from; venues never share a session.';

CREATE OR REPLACE VIEW crypto_latest_quotes AS
SELECT consumer_group, pair, timestamp AS quoted_at, bid, ask, (bid + ask) / 2 AS mid_price, ask - bid AS spread,
       round(20000 * (ask - bid) / (bid + ask), 4) AS spread_bps,
       extract(epoch FROM clock_timestamp() - timestamp) AS age_seconds, venue
FROM pair_state;
COMMENT ON VIEW crypto_latest_quotes IS 'The newest quote of each pair, one row per group, venue and pair. Small and fast.';
COMMENT ON COLUMN crypto_latest_quotes.venue IS 'Where the quote comes from.';

DO $$
DECLARE
    size text;
    short text;
BEGIN
    FOREACH size IN ARRAY ARRAY['5 minutes', '15 minutes', '1 hour', '4 hours', '1 day'] LOOP
        short := split_part(size, ' ', 1) || left(split_part(size, ' ', 2), 1);
        EXECUTE format($view$
            CREATE OR REPLACE VIEW crypto_windows_%1$s AS
            SELECT consumer_group, pair, window_start, window_start + %2$L AS window_end, ticks, opened[4] AS open, high, low,
                closed[4] AS close, highest_bid, lowest_ask, round((spread_sum + 0.000000000000000000) / ticks, 18) AS avg_spread,
                max_spread, round((spread_bps_sum + 0.000000000000000000) / ticks, 8) AS avg_spread_bps, late, spread_sum, spread_bps_sum,
                timestamptz 'epoch' + opened[1]::bigint * interval '1 microsecond' AS open_at,
                opened[2]::integer AS open_partition, opened[3]::bigint AS open_offset,
                timestamptz 'epoch' + closed[1]::bigint * interval '1 microsecond' AS close_at,
                closed[2]::integer AS close_partition, closed[3]::bigint AS close_offset,
                complete AND window_start + %2$L <= now() AS complete, updated_at, %1$L::text AS name, venue
            FROM (
                SELECT consumer_group, venue, pair, date_bin(%2$L, window_start, 'epoch') AS window_start, sum(ticks)::bigint AS ticks,
                    min(ARRAY[extract(epoch FROM open_at) * 1000000, open_partition, open_offset, open]) AS opened,
                    max(ARRAY[extract(epoch FROM close_at) * 1000000, close_partition, close_offset, close]) AS closed,
                    max(high) AS high, min(low) AS low, max(highest_bid) AS highest_bid, min(lowest_ask) AS lowest_ask,
                    max(max_spread) AS max_spread, sum(late)::bigint AS late, sum(spread_sum) AS spread_sum,
                    sum(spread_bps_sum) AS spread_bps_sum, bool_and(complete) AS complete, max(updated_at) AS updated_at
                FROM crypto_windows WHERE name = '1m'
                GROUP BY consumer_group, venue, pair, date_bin(%2$L, window_start, 'epoch')
            ) AS coarser
        $view$, short, size);
        EXECUTE format('COMMENT ON COLUMN crypto_windows_%s.venue IS %L', short,
                       'Where the quotes come from; venues never share a window.');
    END LOOP;
END
$$;
