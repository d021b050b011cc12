-- What the feed did not hear, in order with the ticks: one more fate of an offset.

CREATE TABLE feed_gaps (
    consumer_group  text        NOT NULL,
    topic           text        NOT NULL,
    kafka_partition integer     NOT NULL,
    kafka_offset    bigint      NOT NULL,
    pair            text        NOT NULL,
    kind            text        NOT NULL,
    begins_at       timestamptz,
    ends_at         timestamptz NOT NULL,
    first_trade_id  bigint,
    last_trade_id   bigint,
    trades_missed   bigint,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer_group, topic, kafka_partition, kafka_offset)
);
CREATE INDEX feed_gaps_ends_at ON feed_gaps (consumer_group, pair, ends_at);

COMMENT ON TABLE feed_gaps IS 'When a pair of the live feed was not heard, and which trades were missed meanwhile; one row a gap record of the topic.';
COMMENT ON COLUMN feed_gaps.kind IS 'start: the feed began; missed: the exchange left trades out; down: the connection broke; silence: nothing came over it; overflow: Kafka was away for longer than the buffer lasts.';
COMMENT ON COLUMN feed_gaps.begins_at IS 'By the receiver''s clock; of a start the event time of the pair''s newest quote stored before, NULL without one.';
COMMENT ON COLUMN feed_gaps.ends_at IS 'When the pair was heard again, by the receiver''s clock.';
COMMENT ON COLUMN feed_gaps.first_trade_id IS 'First trade missed, NULL where none was. Of a start: the one after the highest trade stored before, NULL without one.';
COMMENT ON COLUMN feed_gaps.last_trade_id IS 'Last trade missed. Of a start: the one before the first trade heard, which may lie before first_trade_id; NULL where none was heard.';
COMMENT ON COLUMN feed_gaps.trades_missed IS 'How many trades were missed; NULL of a start whose first trade is not known.';
