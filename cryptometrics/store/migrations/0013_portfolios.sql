-- What is held: portfolios, as people state them. A version is never changed: a later one follows it.

CREATE TABLE portfolio_versions (
    portfolio      text        NOT NULL,
    version        integer     NOT NULL CHECK (version > 0),
    effective_at   timestamptz NOT NULL,
    loaded_at      timestamptz NOT NULL DEFAULT now(),
    consumer_group text        NOT NULL,
    venue          text        NOT NULL,
    currency       text        NOT NULL,
    definition     jsonb,
    PRIMARY KEY (portfolio, version)
);
CREATE INDEX portfolio_versions_effective_at ON portfolio_versions (portfolio, effective_at, version);

COMMENT ON TABLE portfolio_versions IS 'Every version of every portfolio. In force at a moment is the version with the latest effective_at until then, of equal ones the highest version.';
COMMENT ON COLUMN portfolio_versions.version IS 'Counted per portfolio, from 1.';
COMMENT ON COLUMN portfolio_versions.effective_at IS 'From when on the positions are held; may be before or after loaded_at.';
COMMENT ON COLUMN portfolio_versions.consumer_group IS 'Whose stored quotes price the portfolio: pinned when it was loaded.';
COMMENT ON COLUMN portfolio_versions.venue IS 'The market whose quotes price the portfolio, pinned like the group.';
COMMENT ON COLUMN portfolio_versions.currency IS 'In which the portfolio is valued.';
COMMENT ON COLUMN portfolio_versions.definition IS 'Positions, cash, limits, stress tests, and the pair that prices each asset; decimals are text. NULL: the portfolio was removed.';
