-- What could be lost, minute by minute: written by `risk --follow` from the minutes of `process`.

CREATE TABLE crypto_risk (
    consumer_group     text             NOT NULL,
    venue              text             NOT NULL,
    pair               text             NOT NULL,
    range              text             NOT NULL CHECK (range IN ('15m', '1h', '24h')),
    as_of              timestamptz      NOT NULL,
    minutes            integer          NOT NULL,
    minutes_with_ticks integer          NOT NULL,
    coverage           double precision NOT NULL,
    gap_minutes        integer          NOT NULL,
    volatility         double precision,
    volatility_ewma    double precision,
    value_at_risk      double precision,
    expected_shortfall double precision,
    drawdown           double precision,
    max_drawdown       double precision,
    computed_at        timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer_group, venue, pair, range, as_of)
);
COMMENT ON TABLE crypto_risk IS 'Per group, venue, pair and range: risk figures as of the end of each complete minute. Ratios, so 0.02 is 2 %; losses are positive; NULL is what cannot be known.';
COMMENT ON COLUMN crypto_risk.range IS 'How far back the figures look: 15m, 1h or 24h.';
COMMENT ON COLUMN crypto_risk.as_of IS 'The end (event time) of the newest minute of the range.';
COMMENT ON COLUMN crypto_risk.minutes IS 'Minutes of the range.';
COMMENT ON COLUMN crypto_risk.minutes_with_ticks IS 'Minutes of the range with at least one tick.';
COMMENT ON COLUMN crypto_risk.coverage IS 'Share of the minutes that have a price, or are known to be empty. Below 0.8 the figures are thin.';
COMMENT ON COLUMN crypto_risk.gap_minutes IS 'Minutes of the range that a gap of the feed overlaps.';
COMMENT ON COLUMN crypto_risk.volatility IS 'Realized volatility of one-minute log returns, annualised by 525,600 minutes.';
COMMENT ON COLUMN crypto_risk.volatility_ewma IS 'The same, with weights that halve every hour.';
COMMENT ON COLUMN crypto_risk.value_at_risk IS 'Loss over one hour that is exceeded with a probability of 1 %: filtered historical simulation. NULL for 15m and 1h, which have too few returns.';
COMMENT ON COLUMN crypto_risk.expected_shortfall IS 'Mean loss over one hour beyond value_at_risk.';
COMMENT ON COLUMN crypto_risk.drawdown IS 'How far the newest close is below the highest mid price of the range.';
COMMENT ON COLUMN crypto_risk.max_drawdown IS 'The largest fall of the mid price from its highest value before, within the range.';
COMMENT ON COLUMN crypto_risk.computed_at IS 'When the transaction that wrote the row began; a late tick has it written again.';

CREATE TABLE risk_progress (
    consumer_group text        NOT NULL,
    venue          text        NOT NULL,
    begun_at       timestamptz NOT NULL,
    complete_until timestamptz NOT NULL,
    heard_until    timestamptz NOT NULL,
    kept_from      timestamptz NOT NULL DEFAULT 'epoch',
    thinned_until  timestamptz NOT NULL DEFAULT 'epoch',
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer_group, venue)
) WITH (fillfactor = 25);
COMMENT ON TABLE risk_progress IS 'Per group and venue: how far crypto_risk has come. Written with its rows.';
COMMENT ON COLUMN risk_progress.begun_at IS 'The first rows are of the minute that begins here.';
COMMENT ON COLUMN risk_progress.complete_until IS 'Every minute that ends from then on is still to be computed.';
COMMENT ON COLUMN risk_progress.heard_until IS 'The newest sign of the venue''s feed when the newest rows were computed. Empty minutes since then may turn out to be verified.';
COMMENT ON COLUMN risk_progress.kept_from IS 'prune dropped the rows as of earlier moments.';
COMMENT ON COLUMN risk_progress.thinned_until IS 'Of the rows of the range 24h as of earlier moments, prune kept those as of a full hour.';

CREATE TABLE changed_minutes (
    consumer_group text        NOT NULL,
    venue          text        NOT NULL,
    pair           text        NOT NULL,
    minute         timestamptz NOT NULL,
    changes        bigint      NOT NULL DEFAULT 1,
    noted_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer_group, venue, pair, minute)
) WITH (fillfactor = 50);
COMMENT ON TABLE changed_minutes IS 'Complete minutes that a late tick or a late gap record has changed since crypto_risk was computed. Written with the batch; risk --follow computes the rows that used them again, and removes them.';
COMMENT ON COLUMN changed_minutes.minute IS 'Start of the minute.';
COMMENT ON COLUMN changed_minutes.changes IS 'How often it has changed. A note is removed only if it has not changed again since its minute was read.';

-- A rule about figures does not know its value where too few of the minutes are known.
ALTER TABLE alert_states DROP CONSTRAINT alert_states_state_check;
ALTER TABLE alert_states ADD CONSTRAINT alert_states_state_check
    CHECK (state IN ('inactive', 'pending', 'firing', 'unknown'));
