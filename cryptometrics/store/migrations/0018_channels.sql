-- Channels: each has its own place in the outbox, so that one that is away never delays another.

ALTER TABLE alert_notifications ADD COLUMN channel text NOT NULL DEFAULT 'webhook';
COMMENT ON COLUMN alert_notifications.channel IS 'The channel''s name in the file of rules, or "webhook". Its address is stored nowhere.';
COMMENT ON TABLE alert_notifications IS 'The outbox: a row per transition of an alert and channel, delivered in the order of id for each channel.';

ALTER TABLE alert_notifications DROP CONSTRAINT alert_notifications_alert_id_status_key;
ALTER TABLE alert_notifications ADD UNIQUE (alert_id, status, channel);
DROP INDEX alert_notifications_waiting;
CREATE INDEX alert_notifications_waiting ON alert_notifications (consumer_group, channel, id) WHERE delivered_at IS NULL;

ALTER TABLE alerts ADD COLUMN channels text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN alerts.channels IS 'The channels that are told when it fires, decided when it began; they are told of its end, too.';
