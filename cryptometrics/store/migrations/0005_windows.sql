-- What the ticks of a pair amount to in each window of time: minutes kept by process, other windows by aggregate.

CREATE TABLE crypto_windows (
    consumer_group  text        NOT NULL,
    pair            text        NOT NULL,
    window_start    timestamptz NOT NULL,
    window_end      timestamptz NOT NULL,
    ticks           bigint      NOT NULL,
    open            numeric     NOT NULL,
    high            numeric     NOT NULL,
    low             numeric     NOT NULL,
    close           numeric     NOT NULL,
    highest_bid     numeric     NOT NULL,
    lowest_ask      numeric     NOT NULL,
    -- A quotient has as many digits as its inputs ask for: the zero makes that the same for equal sums.
    avg_spread      numeric     GENERATED ALWAYS AS (round((spread_sum + 0.000000000000000000) / ticks, 18)) STORED,
    max_spread      numeric     NOT NULL,
    avg_spread_bps  numeric     GENERATED ALWAYS AS (round((spread_bps_sum + 0.000000000000000000) / ticks, 8)) STORED,
    late            bigint      NOT NULL,
    spread_sum      numeric     NOT NULL,
    spread_bps_sum  numeric     NOT NULL,
    open_at         timestamptz NOT NULL,
    open_partition  integer     NOT NULL,
    open_offset     bigint      NOT NULL,
    close_at        timestamptz NOT NULL,
    close_partition integer     NOT NULL,
    close_offset    bigint      NOT NULL,
    complete        boolean     NOT NULL DEFAULT false,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    name            text        NOT NULL DEFAULT '1m',
    PRIMARY KEY (consumer_group, name, pair, window_start),
    CHECK (window_start < window_end AND ticks > 0)
) WITH (fillfactor = 50);

-- Few windows are open at a time: what closes them looks at no other.
CREATE INDEX crypto_windows_open ON crypto_windows (consumer_group, name, close_partition) WHERE NOT complete;

COMMENT ON TABLE crypto_windows IS 'Per group, name, pair and window: what its ticks amount to. Those named 1m are the minutes that process keeps, in the transaction of their ticks.';
COMMENT ON COLUMN crypto_windows.name IS '1m: kept by process. Others are written by aggregate, under the name given with --into.';
COMMENT ON COLUMN crypto_windows.window_end IS 'The first moment (event time) that is not in the window any more.';
COMMENT ON COLUMN crypto_windows.open IS 'Mid price of the first tick by event time; of equal times the first in the topic.';
COMMENT ON COLUMN crypto_windows.close IS 'Mid price of the last tick by event time; of equal times the last in the topic.';
COMMENT ON COLUMN crypto_windows.high IS 'Highest mid price.';
COMMENT ON COLUMN crypto_windows.low IS 'Lowest mid price.';
COMMENT ON COLUMN crypto_windows.avg_spread IS 'spread_sum / ticks, rounded to 18 places.';
COMMENT ON COLUMN crypto_windows.avg_spread_bps IS 'spread_bps_sum / ticks, rounded to 8 places.';
COMMENT ON COLUMN crypto_windows.late IS 'Ticks whose trade_id lies below one that came before them in the topic; they are in the other columns, too.';
COMMENT ON COLUMN crypto_windows.spread_bps_sum IS 'Sum of 10,000 * spread / mid price, each rounded half up to 8 places.';
COMMENT ON COLUMN crypto_windows.open_at IS 'Event time of the tick that opens the window; with its place in the topic what two parts of a window are merged by.';
COMMENT ON COLUMN crypto_windows.complete IS 'Whether the watermark has passed the end: later ticks are merged all the same, and change updated_at.';
COMMENT ON COLUMN crypto_windows.updated_at IS 'When the transaction that changed the row last began.';

CREATE TABLE crypto_windows_too_late (
    consumer_group  text        NOT NULL,
    name            text        NOT NULL,
    pair            text        NOT NULL,
    window_start    timestamptz NOT NULL,
    ticks           bigint      NOT NULL,
    PRIMARY KEY (consumer_group, name, pair, window_start)
);
COMMENT ON TABLE crypto_windows_too_late IS 'What aggregate --follow left out: how many ticks came after their window had ended and its lateness was over.';

-- What one tick's spread is in basis points of its mid price, rounded half up to 8 places in one step: division
-- alone rounds at some other place first.
CREATE FUNCTION crypto_spread_bps(bid numeric, ask numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT div(4000000000000 * (ask - bid) + (bid + ask), 2 * (bid + ask)) * 0.00000001
$$;

-- Minutes of the rows that are there already. Arrays compare element by element: their least is the first tick.
INSERT INTO crypto_windows (consumer_group, pair, window_start, window_end, ticks, open, high, low, close, highest_bid,
    lowest_ask, max_spread, late, spread_sum, spread_bps_sum,
    open_at, open_partition, open_offset, close_at, close_partition, close_offset)
SELECT consumer_group, pair, start, start + interval '1 minute', ticks, opened[4], high, low, closed[4], highest_bid,
    lowest_ask, max_spread, late, spread_sum, spread_bps_sum,
    timestamptz 'epoch' + opened[1]::bigint * interval '1 microsecond', opened[2], opened[3],
    timestamptz 'epoch' + closed[1]::bigint * interval '1 microsecond', closed[2], closed[3]
FROM (
    SELECT consumer_group, pair, date_bin('1 minute', timestamp, 'epoch') AS start, count(*) AS ticks,
        min(ARRAY[extract(epoch FROM timestamp) * 1000000, kafka_partition, kafka_offset, mid_price]) AS opened,
        max(ARRAY[extract(epoch FROM timestamp) * 1000000, kafka_partition, kafka_offset, mid_price]) AS closed,
        max(mid_price) AS high, min(mid_price) AS low, max(bid) AS highest_bid, min(ask) AS lowest_ask,
        max(spread) AS max_spread, sum(spread) AS spread_sum, sum(crypto_spread_bps(bid, ask)) AS spread_bps_sum,
        count(*) FILTER (WHERE trade_id < highest) AS late
    FROM (SELECT *, max(trade_id) OVER (PARTITION BY consumer_group, pair ORDER BY kafka_partition, kafka_offset
                                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS highest
          FROM crypto_metrics) AS ticks
    GROUP BY consumer_group, pair, start
) AS minutes;

-- Coarser windows, of the minutes: the same columns, never behind them. A window is complete when its minutes are
-- and its end lies in the past.
DO $$
DECLARE
    size text;
    short text;
BEGIN
    FOREACH size IN ARRAY ARRAY['5 minutes', '15 minutes', '1 hour', '4 hours', '1 day'] LOOP
        short := split_part(size, ' ', 1) || left(split_part(size, ' ', 2), 1);
        EXECUTE format($view$
            CREATE VIEW crypto_windows_%1$s AS
            SELECT consumer_group, pair, window_start, window_start + %2$L AS window_end, ticks, opened[4] AS open, high, low,
                closed[4] AS close, highest_bid, lowest_ask, round((spread_sum + 0.000000000000000000) / ticks, 18) AS avg_spread,
                max_spread, round((spread_bps_sum + 0.000000000000000000) / ticks, 8) AS avg_spread_bps, late, spread_sum, spread_bps_sum,
                timestamptz 'epoch' + opened[1]::bigint * interval '1 microsecond' AS open_at,
                opened[2]::integer AS open_partition, opened[3]::bigint AS open_offset,
                timestamptz 'epoch' + closed[1]::bigint * interval '1 microsecond' AS close_at,
                closed[2]::integer AS close_partition, closed[3]::bigint AS close_offset,
                complete AND window_start + %2$L <= now() AS complete, updated_at, %1$L::text AS name
            FROM (
                SELECT consumer_group, pair, date_bin(%2$L, window_start, 'epoch') AS window_start, sum(ticks)::bigint AS ticks,
                    min(ARRAY[extract(epoch FROM open_at) * 1000000, open_partition, open_offset, open]) AS opened,
                    max(ARRAY[extract(epoch FROM close_at) * 1000000, close_partition, close_offset, close]) AS closed,
                    max(high) AS high, min(low) AS low, max(highest_bid) AS highest_bid, min(lowest_ask) AS lowest_ask,
                    max(max_spread) AS max_spread, sum(late)::bigint AS late, sum(spread_sum) AS spread_sum,
                    sum(spread_bps_sum) AS spread_bps_sum, bool_and(complete) AS complete, max(updated_at) AS updated_at
                FROM crypto_windows WHERE name = '1m'
                GROUP BY consumer_group, pair, date_bin(%2$L, window_start, 'epoch')
            ) AS coarser
        $view$, short, size);
        EXECUTE format('COMMENT ON VIEW crypto_windows_%s IS %L', short,
                       'Windows of ' || size || ' (UTC), of the minutes in crypto_windows.');
    END LOOP;
END
$$;
