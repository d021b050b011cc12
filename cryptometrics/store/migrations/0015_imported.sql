-- Minutes from before the feed, brought in by `import`: prices that somebody else summed up.

-- Such a minute has no ticks, and what only ticks can tell is NULL, never 0.
ALTER TABLE crypto_windows
    ALTER COLUMN highest_bid DROP NOT NULL,
    ALTER COLUMN lowest_ask DROP NOT NULL,
    ALTER COLUMN max_spread DROP NOT NULL,
    ALTER COLUMN spread_sum DROP NOT NULL,
    ALTER COLUMN spread_bps_sum DROP NOT NULL,
    ALTER COLUMN open_partition DROP NOT NULL,
    ALTER COLUMN open_offset DROP NOT NULL,
    ALTER COLUMN close_partition DROP NOT NULL,
    ALTER COLUMN close_offset DROP NOT NULL;

-- Step: the check of the minutes (about 1 s per million)
-- A check may have any name: PostgreSQL chose one that was free.
DO $$
DECLARE
    check_name name;
BEGIN
    FOR check_name IN
        SELECT conname FROM pg_constraint
        WHERE conrelid = 'crypto_windows'::regclass AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%ticks > 0%'
    LOOP
        EXECUTE format('ALTER TABLE crypto_windows DROP CONSTRAINT %I', check_name);
    END LOOP;
END
$$;
ALTER TABLE crypto_windows ADD CONSTRAINT crypto_windows_origin_check CHECK (
    window_start < window_end AND CASE
        WHEN origin IS NULL
        THEN ticks > 0 AND num_nulls(highest_bid, lowest_ask, max_spread, spread_sum, spread_bps_sum,
                                     open_partition, open_offset, close_partition, close_offset) = 0
        ELSE origin = 'imported' AND name = '1m' AND ticks = 0 AND complete
             AND num_nonnulls(highest_bid, lowest_ask, max_spread, spread_sum, spread_bps_sum,
                              open_partition, open_offset, close_partition, close_offset,
                              sized_ticks, bid_size_sum, ask_size_sum, trades, notional, buy_volume) = 0
    END
);

COMMENT ON COLUMN crypto_windows.origin IS 'NULL: the ticks of the topic; imported: prices from elsewhere, written by import. Such a minute has 0 ticks, and NULL where only ticks can tell. Ticks that come later replace it.';
COMMENT ON COLUMN crypto_windows.open_at IS 'Event time of the tick that opens the window; with its place in the topic what two parts of a window are merged by. Of an imported minute its start.';
COMMENT ON COLUMN crypto_windows.close_at IS 'Event time of the tick that closes the window. Of an imported minute its last microsecond.';
COMMENT ON COLUMN crypto_windows.open IS 'Mid price of the first tick by event time; of equal times the first in the topic. Of an imported minute what was imported, like high, low and close.';
COMMENT ON VIEW crypto_windows_1m IS 'Every minute of a pair from its first to the last complete one of its venue, empty ones too: ticks 0, and no prices. An imported minute has prices and 0 ticks. For a part of a long past use the function crypto_minutes.';
COMMENT ON COLUMN crypto_markets.first_minute IS 'Start of the first minute with a price.';
COMMENT ON TABLE changed_minutes IS 'Complete minutes that a late tick, a late gap record or an import has changed since crypto_risk was computed. Written with the change; risk --follow computes the rows that used them again, and removes them.';
