-- Sizes of the quotes, and what traded in each minute. Rows and minutes of before have none: NULL, never 0.

-- Step: the sizes of each quote
ALTER TABLE crypto_metrics ADD COLUMN bid_size numeric, ADD COLUMN ask_size numeric;
COMMENT ON COLUMN crypto_metrics.bid_size IS 'Size at the best bid, in the base currency; NULL where the feed sends none.';
COMMENT ON COLUMN crypto_metrics.ask_size IS 'Size at the best ask, in the base currency; NULL where the feed sends none.';

ALTER TABLE session_extremes ADD COLUMN last_bid_size numeric, ADD COLUMN last_ask_size numeric;
COMMENT ON COLUMN session_extremes.last_bid_size IS 'Size at the bid of the newest quote; NULL where the feed sends none.';
COMMENT ON COLUMN session_extremes.last_ask_size IS 'Size at the ask of the newest quote; NULL where the feed sends none.';

ALTER TABLE pair_state ADD COLUMN bid_size numeric, ADD COLUMN ask_size numeric;
COMMENT ON COLUMN pair_state.bid_size IS 'Size at the bid of the newest quote; NULL where the feed sends none.';
COMMENT ON COLUMN pair_state.ask_size IS 'Size at the ask of the newest quote; NULL where the feed sends none.';

-- Step: from which offset there are sizes
ALTER TABLE consumer_offsets ADD COLUMN sizes_from bigint NOT NULL DEFAULT 0;
UPDATE consumer_offsets SET sizes_from = next_offset;
COMMENT ON COLUMN consumer_offsets.sizes_from IS 'The first offset that was stored with sizes and trades: an earlier version stored those before it.';

-- Step: the sizes and trades of the minutes (rewrites the table once)
ALTER TABLE crypto_windows
    ADD COLUMN sized_ticks bigint,
    ADD COLUMN bid_size_sum numeric,
    ADD COLUMN ask_size_sum numeric,
    ADD COLUMN trades bigint,
    ADD COLUMN volume numeric,
    ADD COLUMN notional numeric,
    ADD COLUMN buy_volume numeric,
    ADD COLUMN avg_bid_size numeric
        GENERATED ALWAYS AS (round((bid_size_sum + 0.000000000000000000) / nullif(sized_ticks, 0), 18)) STORED,
    ADD COLUMN avg_ask_size numeric
        GENERATED ALWAYS AS (round((ask_size_sum + 0.000000000000000000) / nullif(sized_ticks, 0), 18)) STORED,
    ADD COLUMN vwap numeric
        GENERATED ALWAYS AS (round((notional + 0.000000000000000000) / nullif(volume, 0), 18)) STORED;
COMMENT ON COLUMN crypto_windows.sized_ticks IS 'Ticks with a size on both sides; NULL, like the sums, if a part of the window was stored without sizes by an earlier version.';
COMMENT ON COLUMN crypto_windows.bid_size_sum IS 'Sum of the bid sizes of the sized ticks, in the base currency.';
COMMENT ON COLUMN crypto_windows.ask_size_sum IS 'Sum of the ask sizes of the sized ticks, in the base currency.';
COMMENT ON COLUMN crypto_windows.trades IS 'Tickers with a trade. A feed may batch trades into one ticker, which carries the last of them. NULL if unknown: from an earlier version, or from stored ticks.';
COMMENT ON COLUMN crypto_windows.volume IS 'Sum of the sizes of these trades, in the base currency; tickers may batch trades, so the exchange''s own volume may be larger.';
COMMENT ON COLUMN crypto_windows.notional IS 'Sum of price * size of these trades, in the quote currency.';
COMMENT ON COLUMN crypto_windows.buy_volume IS 'Volume of the trades in which the taker bought.';
COMMENT ON COLUMN crypto_windows.avg_bid_size IS 'bid_size_sum / sized_ticks, rounded to 18 places; NULL without sized ticks.';
COMMENT ON COLUMN crypto_windows.avg_ask_size IS 'ask_size_sum / sized_ticks, rounded to 18 places; NULL without sized ticks.';
COMMENT ON COLUMN crypto_windows.vwap IS 'notional / volume, the volume-weighted average price, rounded to 18 places; NULL without trades.';

-- Step: the views. Each keeps its columns, and the new ones come after them.
DO $$
DECLARE
    view text;
    definition text;
    name text;
    totals text := '';
BEGIN
    definition := rtrim(pg_get_viewdef('crypto_quotes'::regclass), E'; \n');
    EXECUTE 'CREATE OR REPLACE VIEW crypto_quotes AS '
        || regexp_replace(definition, '\sFROM crypto_metrics$', ', bid_size, ask_size FROM crypto_metrics');
    definition := rtrim(pg_get_viewdef('crypto_latest_quotes'::regclass), E'; \n');
    EXECUTE 'CREATE OR REPLACE VIEW crypto_latest_quotes AS '
        || regexp_replace(definition, '\sFROM pair_state$', ', bid_size, ask_size FROM pair_state');
    definition := rtrim(pg_get_viewdef('crypto_sessions'::regclass), E'; \n');
    EXECUTE 'CREATE OR REPLACE VIEW crypto_sessions AS '
        || regexp_replace(definition, '\sFROM session_extremes$',
                          ', last_bid_size AS bid_size, last_ask_size AS ask_size FROM session_extremes');
    FOREACH view IN ARRAY ARRAY['crypto_quotes', 'crypto_latest_quotes', 'crypto_sessions'] LOOP
        EXECUTE format('COMMENT ON COLUMN %I.bid_size IS %L', view, 'Size at the bid, in the base currency; NULL where the feed sends none.');
        EXECUTE format('COMMENT ON COLUMN %I.ask_size IS %L', view, 'Size at the ask, in the base currency; NULL where the feed sends none.');
    END LOOP;

    -- Coarser windows: what is unknown of a minute is unknown of them.
    FOREACH name IN ARRAY ARRAY['sized_ticks', 'bid_size_sum', 'ask_size_sum', 'trades', 'volume', 'notional', 'buy_volume'] LOOP
        totals := totals || format(', CASE WHEN count(%1$I) = count(*) THEN sum(%1$I)%2$s END AS %1$I', name,
                                   CASE WHEN name IN ('sized_ticks', 'trades') THEN '::bigint' END);
    END LOOP;
    FOREACH view IN ARRAY ARRAY['5m', '15m', '1h', '4h', '1d'] LOOP
        view := 'crypto_windows_' || view;
        definition := rtrim(pg_get_viewdef(view::regclass), E'; \n');
        definition := regexp_replace(definition, '\sFROM crypto_windows\s', totals || ' FROM crypto_windows ');
        definition := regexp_replace(definition, '\sFROM \( SELECT ', $columns$,
            sized_ticks, bid_size_sum, ask_size_sum, trades, volume, notional, buy_volume,
            round((bid_size_sum + 0.000000000000000000) / nullif(sized_ticks, 0), 18) AS avg_bid_size,
            round((ask_size_sum + 0.000000000000000000) / nullif(sized_ticks, 0), 18) AS avg_ask_size,
            round((notional + 0.000000000000000000) / nullif(volume, 0), 18) AS vwap
            FROM ( SELECT $columns$);
        EXECUTE format('CREATE OR REPLACE VIEW %I AS ', view) || definition;
        EXECUTE format('COMMENT ON COLUMN %I.volume IS %L', view, 'Sum of the sizes of the trades, in the base currency. Tickers may batch trades.');
    END LOOP;
END
$$;
