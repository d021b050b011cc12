-- Alerts: what fired, how each rule stands, and the outbox from which it is told.

CREATE TABLE alerts (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer_group  text        NOT NULL,
    rule            text        NOT NULL,
    kind            text        NOT NULL,
    pair            text        NOT NULL,
    severity        text        NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    level           numeric     NOT NULL,
    value           numeric,
    message         text        NOT NULL,
    started_at      timestamptz NOT NULL,
    fired_at        timestamptz NOT NULL,
    resolved_at     timestamptz,
    resolved_value  numeric,
    resolved_message text,
    kafka_partition integer,
    kafka_offset    bigint,
    recorded_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE alerts IS 'One row per alert, written once, in the transaction of the ticks that made it fire; it fires while resolved_at is NULL.';
COMMENT ON COLUMN alerts.rule IS 'The rule''s name in the file of rules.';
COMMENT ON COLUMN alerts.kind IS 'What the rule measures; level and value are in the unit that ends it.';
COMMENT ON COLUMN alerts.pair IS 'The pair, or "partition N" of the topic for a rule about rejected ticks.';
COMMENT ON COLUMN alerts.value IS 'The value with which it fired; for a stale feed the seconds without a tick; NULL for a gap of unknown size.';
COMMENT ON COLUMN alerts.started_at IS 'When the level was first exceeded without a break; fired_at is later by the rule''s "for".';
COMMENT ON COLUMN alerts.fired_at IS 'Event time of the tick that made it fire (rejected ticks: Kafka''s time; a stale feed: the database''s clock).';
COMMENT ON COLUMN alerts.resolved_at IS 'The same of the tick that ended it; NULL while it fires.';
COMMENT ON COLUMN alerts.message IS 'What made it fire, in words; resolved_message: what ended it.';
COMMENT ON COLUMN alerts.kafka_offset IS 'Where in the topic the tick stands that made it fire, with kafka_partition; NULL for a stale feed.';

-- One alert of a rule and pair fires at a time, whoever writes.
CREATE UNIQUE INDEX alerts_firing ON alerts (consumer_group, rule, pair) WHERE resolved_at IS NULL;
CREATE INDEX alerts_fired_at ON alerts (consumer_group, fired_at);

CREATE TABLE alert_states (
    consumer_group  text        NOT NULL,
    rule            text        NOT NULL,
    pair            text        NOT NULL,
    state           text        NOT NULL CHECK (state IN ('inactive', 'pending', 'firing')),
    since           timestamptz,
    resolved_at     timestamptz,
    memory          jsonb,
    PRIMARY KEY (consumer_group, rule, pair)
) WITH (fillfactor = 50);
COMMENT ON TABLE alert_states IS 'How each rule stands for each pair: what a worker goes on from, written with the ticks.';
COMMENT ON COLUMN alert_states.rule IS 'The rule''s name; empty for the pair''s clock, where that is not the time of its newest tick.';
COMMENT ON COLUMN alert_states.since IS 'When the level was first exceeded without a break.';
COMMENT ON COLUMN alert_states.resolved_at IS 'When the last alert ended: the cooldown runs from there.';
COMMENT ON COLUMN alert_states.memory IS 'What else the rule remembers of the past, in the form of its kind.';

CREATE TABLE alert_notifications (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer_group  text        NOT NULL,
    alert_id        bigint      NOT NULL REFERENCES alerts ON DELETE CASCADE,
    status          text        NOT NULL CHECK (status IN ('firing', 'resolved')),
    idempotency_key uuid        NOT NULL DEFAULT gen_random_uuid(),
    created_at      timestamptz NOT NULL DEFAULT now(),
    attempts        integer     NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    last_error      text,
    delivered_at    timestamptz,
    UNIQUE (alert_id, status)
);
COMMENT ON TABLE alert_notifications IS 'The outbox of the webhook: what is to be told and what was, in the order of id.';
COMMENT ON COLUMN alert_notifications.idempotency_key IS 'Sent with each attempt, so that a receiver knows a repetition.';
COMMENT ON COLUMN alert_notifications.delivered_at IS 'When the receiver had acknowledged it with a status of 200 to 299.';

CREATE INDEX alert_notifications_waiting ON alert_notifications (consumer_group, id) WHERE delivered_at IS NULL;

-- A stale feed is one of which nothing was stored for a while, whatever the times of its ticks are.
ALTER TABLE pair_state ADD COLUMN recorded_at timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN pair_state.recorded_at IS 'When the pair''s last tick was written.';
