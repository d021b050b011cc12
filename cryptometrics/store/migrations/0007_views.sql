-- Views for Grafana, Tableau and whoever writes SQL: plain columns, each explained in its comment (`\d+ NAME`).
-- Their names begin like the tables': a company's database may well have a `quotes` or a `sessions` of its own.

CREATE VIEW crypto_quotes AS
SELECT consumer_group, pair, session, timestamp AS quoted_at, bid, ask, mid_price, spread,
       round(10000 * spread / mid_price, 4) AS spread_bps,
       highest_bid AS session_highest_bid, lowest_ask AS session_lowest_ask, max_spread AS session_max_spread,
       kind, trade_id, recorded_at, extract(epoch FROM recorded_at - timestamp) AS delay_seconds,
       kafka_partition, kafka_offset
FROM crypto_metrics;
COMMENT ON VIEW crypto_quotes IS 'Every stored quote, one row each: a time range (quoted_at) and a pair make it fast.';
COMMENT ON COLUMN crypto_quotes.consumer_group IS 'The reader of the topic that wrote the row; groups are independent, so choose one.';
COMMENT ON COLUMN crypto_quotes.pair IS 'BASE-QUOTE, such as BTC-USD; all prices of the row are in the quote currency.';
COMMENT ON COLUMN crypto_quotes.session IS 'What the extremes run across: the UTC day of quoted_at, or a given name.';
COMMENT ON COLUMN crypto_quotes.quoted_at IS 'The exchange''s time of the quote.';
COMMENT ON COLUMN crypto_quotes.mid_price IS '(bid + ask) / 2.';
COMMENT ON COLUMN crypto_quotes.spread IS 'ask - bid.';
COMMENT ON COLUMN crypto_quotes.spread_bps IS 'The spread in basis points of the mid price, rounded to 4 digits.';
COMMENT ON COLUMN crypto_quotes.session_highest_bid IS 'Highest bid of the session up to and including this quote.';
COMMENT ON COLUMN crypto_quotes.session_lowest_ask IS 'Lowest ask of the session up to and including this quote.';
COMMENT ON COLUMN crypto_quotes.session_max_spread IS 'Largest spread of the session up to and including this quote.';
COMMENT ON COLUMN crypto_quotes.kind IS 'ticker: the quote beside a trade; quote: rebuilt from the order book.';
COMMENT ON COLUMN crypto_quotes.trade_id IS 'The exchange''s number of the trade, counted per pair; NULL without a trade.';
COMMENT ON COLUMN crypto_quotes.recorded_at IS 'When the quote was stored, by the database''s clock.';
COMMENT ON COLUMN crypto_quotes.delay_seconds IS 'recorded_at - quoted_at; slightly negative where the clocks differ.';

CREATE VIEW crypto_sessions AS
SELECT consumer_group, pair, session, first_at, last_at, ticks, late, last_bid AS bid, last_ask AS ask,
       (last_bid + last_ask) / 2 AS mid_price, last_ask - last_bid AS spread,
       round(20000 * (last_ask - last_bid) / (last_bid + last_ask), 4) AS spread_bps,
       highest_bid, highest_bid_at, lowest_ask, lowest_ask_at, max_spread, max_spread_at
FROM session_extremes;
COMMENT ON VIEW crypto_sessions IS 'One row per group, pair and session: the extremes, when each was set, and the newest quote. Small and fast.';
COMMENT ON COLUMN crypto_sessions.session IS 'The UTC day of the quotes, or a given name.';
COMMENT ON COLUMN crypto_sessions.first_at IS 'Time of the oldest quote of the session.';
COMMENT ON COLUMN crypto_sessions.last_at IS 'Time of the newest quote, which is the one shown.';
COMMENT ON COLUMN crypto_sessions.ticks IS 'How many quotes.';
COMMENT ON COLUMN crypto_sessions.late IS 'How many of them came out of the order of their trades.';
COMMENT ON COLUMN crypto_sessions.mid_price IS '(bid + ask) / 2 of the newest quote.';
COMMENT ON COLUMN crypto_sessions.spread IS 'ask - bid of the newest quote.';
COMMENT ON COLUMN crypto_sessions.spread_bps IS 'That spread in basis points of the mid price, rounded to 4 digits.';
COMMENT ON COLUMN crypto_sessions.highest_bid_at IS 'Time of the quote that set the highest bid; the others likewise.';

CREATE VIEW crypto_latest_quotes AS
SELECT consumer_group, pair, timestamp AS quoted_at, bid, ask, (bid + ask) / 2 AS mid_price, ask - bid AS spread,
       round(20000 * (ask - bid) / (bid + ask), 4) AS spread_bps,
       extract(epoch FROM clock_timestamp() - timestamp) AS age_seconds
FROM pair_state;
COMMENT ON VIEW crypto_latest_quotes IS 'The newest quote of each pair, one row per group and pair. Small and fast.';
COMMENT ON COLUMN crypto_latest_quotes.quoted_at IS 'The exchange''s time of the quote.';
COMMENT ON COLUMN crypto_latest_quotes.mid_price IS '(bid + ask) / 2.';
COMMENT ON COLUMN crypto_latest_quotes.spread IS 'ask - bid.';
COMMENT ON COLUMN crypto_latest_quotes.spread_bps IS 'The spread in basis points of the mid price, rounded to 4 digits.';
COMMENT ON COLUMN crypto_latest_quotes.age_seconds IS 'How long ago that was, by the database''s clock at the moment of the query.';

CREATE VIEW crypto_progress AS
SELECT consumer_group, topic, kafka_partition, first_offset, next_offset, metrics, rejected, gaps, duplicates,
       holes, updated_at, extract(epoch FROM clock_timestamp() - updated_at) AS seconds_since_commit, owner
FROM consumer_offsets WHERE ended_at IS NULL;
COMMENT ON VIEW crypto_progress IS 'How far each partition of the topic is stored, and what became of its offsets: metrics + rejected + gaps + duplicates + holes = next_offset - first_offset.';
COMMENT ON COLUMN crypto_progress.next_offset IS 'The first offset that is not stored yet; Kafka''s end minus it is the lag.';
COMMENT ON COLUMN crypto_progress.metrics IS 'Offsets that became a row of crypto_quotes.';
COMMENT ON COLUMN crypto_progress.rejected IS 'Offsets that became a row of crypto_rejections.';
COMMENT ON COLUMN crypto_progress.gaps IS 'Offsets that tell of a gap of the feed.';
COMMENT ON COLUMN crypto_progress.duplicates IS 'Offsets that repeat a quote stored before.';
COMMENT ON COLUMN crypto_progress.holes IS 'Offsets at which Kafka holds no record.';
COMMENT ON COLUMN crypto_progress.seconds_since_commit IS 'How long ago the last batch with this partition was committed; long, too, while nothing comes.';
COMMENT ON COLUMN crypto_progress.owner IS 'The worker that claimed the partition last.';

CREATE VIEW crypto_rejections AS
SELECT id, consumer_group, topic, kafka_partition, kafka_offset, reason, detail, kafka_timestamp, recorded_at,
       requeued_at
FROM rejected_ticks;
COMMENT ON VIEW crypto_rejections IS 'Messages that were no valid tick, without their content: `cryptometrics rejects show` has that.';
COMMENT ON COLUMN crypto_rejections.reason IS 'Why, as a word.';
COMMENT ON COLUMN crypto_rejections.detail IS 'Why, as a sentence.';
COMMENT ON COLUMN crypto_rejections.kafka_timestamp IS 'Kafka''s time of the message.';
COMMENT ON COLUMN crypto_rejections.requeued_at IS 'When it was put on the topic again; NULL if it was not.';

-- Where the role for reading is there already; a later migration makes it and grants the same.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'cryptometrics_reader') THEN
        GRANT SELECT ON crypto_quotes, crypto_sessions, crypto_latest_quotes, crypto_progress, crypto_rejections
            TO cryptometrics_reader;
    END IF;
END
$$;
