-- A rejected message goes back on the topic in three steps, so that a crash between them is found.

ALTER TABLE rejected_ticks ADD COLUMN requeue_started_at timestamptz;
COMMENT ON COLUMN rejected_ticks.requeue_started_at IS 'Set before the message is published, taken away after: what still has it may be on the topic or not.';
COMMENT ON COLUMN rejected_ticks.requeued_at IS 'When Kafka had acknowledged that the message is on the topic again.';

CREATE INDEX rejected_ticks_requeue_started ON rejected_ticks (id) WHERE requeue_started_at IS NOT NULL;
