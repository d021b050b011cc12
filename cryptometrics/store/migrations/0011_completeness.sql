-- Whether a feed can prove that it missed nothing, and until when it was heard.

ALTER TABLE feed_gaps ADD COLUMN proves boolean;

COMMENT ON COLUMN feed_gaps.proves IS 'Of a start: whether the feed can prove that it misses nothing that it sends. NULL if it does not say, and for every other kind.';
COMMENT ON COLUMN feed_gaps.kind IS 'start: the feed started; missed: the exchange skipped trades or frames; down: the connection broke; silence: nothing came over it; unreadable: what came could not be read; overflow: Kafka was unavailable for longer than the buffer lasts; end: the feed stopped in an orderly way.';
COMMENT ON COLUMN feed_gaps.begins_at IS 'By the receiver''s clock. For a start, the event time of the newest quote stored before it; NULL if there is none, and for an end.';
COMMENT ON COLUMN feed_gaps.ends_at IS 'When the pair was received again, by the receiver''s clock; for an end, when it was last heard.';

-- Of a feed without trade ids, nobody knows how many trades it missed before it started.
UPDATE feed_gaps SET trades_missed = NULL
WHERE kind = 'start' AND begins_at IS NOT NULL AND first_trade_id IS NULL;
COMMENT ON COLUMN feed_gaps.trades_missed IS 'Number of missed trades; NULL if it is not known.';
