-- What is held, minute by minute: its value and its risk, written by `risk --follow`.

CREATE TABLE portfolio_risk (
    portfolio              text             NOT NULL,
    version                integer          NOT NULL,
    consumer_group         text             NOT NULL,
    as_of                  timestamptz      NOT NULL,
    venue                  text             NOT NULL,
    currency               text             NOT NULL,
    value                  numeric,
    value_at_mid           numeric,
    profit_and_loss        numeric,
    profit_and_loss_today  numeric,
    gross                  numeric,
    net                    numeric,
    value_at_risk          double precision,
    expected_shortfall     double precision,
    value_at_risk_pct      double precision,
    expected_shortfall_pct double precision,
    drawdown               double precision,
    drawdown_pct           double precision,
    unmarked               integer          NOT NULL,
    positions              jsonb            NOT NULL,
    cash                   jsonb            NOT NULL,
    limits                 jsonb            NOT NULL,
    computed_at            timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (portfolio, version, consumer_group, as_of)
);
CREATE INDEX portfolio_risk_as_of ON portfolio_risk (portfolio, as_of);

COMMENT ON TABLE portfolio_risk IS 'Per portfolio: its value and its risk as of the end of each complete minute, by the version in force then. Money in the currency of the portfolio; losses are positive; NULL is what cannot be known.';
COMMENT ON COLUMN portfolio_risk.version IS 'The version of the portfolio in force at as_of; portfolio_versions has what it states.';
COMMENT ON COLUMN portfolio_risk.consumer_group IS 'The reader of the topic whose quotes and minutes these figures come from.';
COMMENT ON COLUMN portfolio_risk.as_of IS 'The end (event time) of the newest minute of the range.';
COMMENT ON COLUMN portfolio_risk.venue IS 'The market whose quotes price the portfolio.';
COMMENT ON COLUMN portfolio_risk.currency IS 'The currency of all money in the row.';
COMMENT ON COLUMN portfolio_risk.value IS 'Positions at their marks (long at the bid, short at the ask), and cash. Exact.';
COMMENT ON COLUMN portfolio_risk.value_at_mid IS 'Positions at the mid price, and cash. Exact.';
COMMENT ON COLUMN portfolio_risk.profit_and_loss IS 'Of the positions with a cost, against it. Exact.';
COMMENT ON COLUMN portfolio_risk.profit_and_loss_today IS 'Of the positions of the row, since 00:00 UTC. Exact.';
COMMENT ON COLUMN portfolio_risk.gross IS 'Sum of the sizes of the positions at mid: long and short add up. Exact.';
COMMENT ON COLUMN portfolio_risk.net IS 'Sum of the positions at mid: long and short offset. Exact.';
COMMENT ON COLUMN portfolio_risk.value_at_risk IS 'Loss over the horizon of the portfolio that is exceeded with a probability of 1 - confidence; a statistic.';
COMMENT ON COLUMN portfolio_risk.expected_shortfall IS 'Mean loss beyond value_at_risk.';
COMMENT ON COLUMN portfolio_risk.value_at_risk_pct IS 'value_at_risk in per cent of gross: 5 is 5 %.';
COMMENT ON COLUMN portfolio_risk.expected_shortfall_pct IS 'expected_shortfall in per cent of gross.';
COMMENT ON COLUMN portfolio_risk.drawdown IS 'How far cumulative profit and loss is below its peak within the range. It goes on across versions: a withdrawal is no loss.';
COMMENT ON COLUMN portfolio_risk.drawdown_pct IS 'drawdown in per cent of gross.';
COMMENT ON COLUMN portfolio_risk.unmarked IS 'Positions whose mark is stale or missing: they have no value, and what depends on them is NULL.';
COMMENT ON COLUMN portfolio_risk.positions IS 'Per position: the quote that marked it, with its place in the topic, and what follows from it. Money and prices are text, statistics are numbers.';
COMMENT ON COLUMN portfolio_risk.cash IS 'Per currency: the amount, and the quote that marked it if a pair prices it.';
COMMENT ON COLUMN portfolio_risk.limits IS 'Per limit: its name (limit), the figure (value), its level (limit_at), value / limit_at (use), and ok, warn, breach or unknown (state).';
COMMENT ON COLUMN portfolio_risk.computed_at IS 'When the transaction that wrote the row began; a late tick, or a version for the past, has it written again.';

CREATE TABLE portfolio_progress (
    portfolio      text        NOT NULL,
    consumer_group text        NOT NULL,
    venue          text        NOT NULL,
    begun_at       timestamptz NOT NULL,
    complete_until timestamptz NOT NULL,
    again_from     timestamptz,
    again_until    timestamptz,
    kept_from      timestamptz NOT NULL DEFAULT 'epoch',
    thinned_until  timestamptz NOT NULL DEFAULT 'epoch',
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (portfolio, consumer_group, venue),
    CHECK (num_nulls(again_from, again_until) <> 1 AND again_from < again_until)
) WITH (fillfactor = 25);

COMMENT ON TABLE portfolio_progress IS 'Per portfolio and the market that prices it: how far portfolio_risk has come. Written with its rows.';
COMMENT ON COLUMN portfolio_progress.begun_at IS 'The first row is of the minute that begins here.';
COMMENT ON COLUMN portfolio_progress.complete_until IS 'Every minute that ends later is still to be computed.';
COMMENT ON COLUMN portfolio_progress.again_from IS 'Rows as of later moments, up to again_until, are to be computed again: a minute or a version has changed. NULL: none are.';
COMMENT ON COLUMN portfolio_progress.again_until IS 'The newest row that is to be computed again.';
COMMENT ON COLUMN portfolio_progress.kept_from IS 'prune dropped the rows as of earlier moments.';
COMMENT ON COLUMN portfolio_progress.thinned_until IS 'Of the rows as of earlier moments, prune kept those as of a full hour.';

-- A limit is a rule, too, and its portfolio takes the place of the pair.
COMMENT ON COLUMN alerts.rule IS 'The rule''s name in the file of rules, or the name of a limit, such as limit.gross.';
COMMENT ON COLUMN alerts.pair IS 'The pair; "partition N" of the topic for a rule about rejected ticks; the portfolio for a limit.';

-- As in crypto_latest_risk, a recursion skips from portfolio to portfolio in the index.
CREATE VIEW crypto_latest_portfolio_risk AS
WITH RECURSIVE keys AS (
    (SELECT portfolio FROM portfolio_risk ORDER BY portfolio LIMIT 1)
    UNION ALL
    SELECT next.* FROM keys CROSS JOIN LATERAL (
        SELECT r.portfolio FROM portfolio_risk r WHERE r.portfolio > keys.portfolio
        ORDER BY r.portfolio LIMIT 1
    ) AS next
)
SELECT newest.*, extract(epoch FROM clock_timestamp() - newest.as_of) AS age_seconds
FROM keys CROSS JOIN LATERAL (
    SELECT * FROM portfolio_risk r WHERE r.portfolio = keys.portfolio ORDER BY r.as_of DESC LIMIT 1
) AS newest;
COMMENT ON VIEW crypto_latest_portfolio_risk IS 'The newest row of portfolio_risk of each portfolio, also of one that was removed. Money in the currency of the portfolio; NULL is what cannot be known. Small and fast.';
COMMENT ON COLUMN crypto_latest_portfolio_risk.age_seconds IS 'How long ago as_of was, by the database''s clock at the moment of the query. More than some minutes: risk --follow or process does not run, or is behind.';

-- Columns of the view mean the same as in the table.
DO $$
DECLARE
    name text;
    meaning text;
BEGIN
    FOR name, meaning IN
        SELECT attname, col_description(attrelid, attnum) FROM pg_attribute
        WHERE attrelid = 'portfolio_risk'::regclass AND attnum > 0 AND NOT attisdropped
    LOOP
        EXECUTE format('COMMENT ON COLUMN crypto_latest_portfolio_risk.%I IS %L', name, meaning);
    END LOOP;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'cryptometrics_reader') THEN
        GRANT SELECT ON portfolio_risk, portfolio_progress, crypto_latest_portfolio_risk TO cryptometrics_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'cryptometrics_writer') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON portfolio_risk TO cryptometrics_writer;
        GRANT SELECT, INSERT, UPDATE ON portfolio_progress TO cryptometrics_writer;
    END IF;
END
$$;
