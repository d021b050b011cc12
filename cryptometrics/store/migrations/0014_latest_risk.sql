-- The newest figures as a view: who shows them need not know how a skip over an index is written.

-- An index cannot skip from key to key by itself: the recursion does, so a year of rows costs no more than a day.
CREATE VIEW crypto_latest_risk AS
WITH RECURSIVE keys AS (
    (SELECT consumer_group, venue, pair, range FROM crypto_risk
     ORDER BY consumer_group, venue, pair, range LIMIT 1)
    UNION ALL
    SELECT next.* FROM keys CROSS JOIN LATERAL (
        SELECT r.consumer_group, r.venue, r.pair, r.range FROM crypto_risk r
        WHERE (r.consumer_group, r.venue, r.pair, r.range)
            > (keys.consumer_group, keys.venue, keys.pair, keys.range)
        ORDER BY r.consumer_group, r.venue, r.pair, r.range LIMIT 1
    ) AS next
)
SELECT newest.consumer_group, newest.venue, newest.pair, newest.range, newest.as_of, newest.minutes,
    newest.minutes_with_ticks, newest.coverage, newest.gap_minutes, newest.volatility, newest.volatility_ewma,
    newest.value_at_risk, newest.expected_shortfall, newest.drawdown, newest.max_drawdown, newest.computed_at,
    extract(epoch FROM clock_timestamp() - newest.as_of) AS age_seconds
FROM keys CROSS JOIN LATERAL (
    SELECT * FROM crypto_risk r
    WHERE (r.consumer_group, r.venue, r.pair, r.range)
        = (keys.consumer_group, keys.venue, keys.pair, keys.range)
    ORDER BY r.as_of DESC LIMIT 1
) AS newest;
COMMENT ON VIEW crypto_latest_risk IS 'The newest row of crypto_risk per group, venue, pair and range. Ratios, so 0.02 is 2 %; losses are positive; NULL is what cannot be known. Small and fast.';
COMMENT ON COLUMN crypto_latest_risk.age_seconds IS 'How long ago as_of was, by the database''s clock at the moment of the query. More than some minutes: risk --follow or process does not run, or is behind.';

COMMENT ON COLUMN crypto_risk.consumer_group IS 'The reader of the topic whose minutes these are; groups are independent, so choose one.';
COMMENT ON COLUMN crypto_risk.venue IS 'Where the quotes come from: an exchange''s feed such as coinbase, or simulated. Choose one.';
COMMENT ON COLUMN crypto_risk.pair IS 'BASE-QUOTE, such as BTC-USD.';

-- Columns of the view mean the same as in the table.
DO $$
DECLARE
    name text;
    meaning text;
BEGIN
    FOR name, meaning IN
        SELECT attname, col_description(attrelid, attnum) FROM pg_attribute
        WHERE attrelid = 'crypto_risk'::regclass AND attnum > 0 AND NOT attisdropped
    LOOP
        EXECUTE format('COMMENT ON COLUMN crypto_latest_risk.%I IS %L', name, meaning);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'cryptometrics_reader') THEN
        GRANT SELECT ON crypto_latest_risk TO cryptometrics_reader;
    END IF;
END
$$;
