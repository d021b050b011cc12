"""Delivery of alerts: the outbox, the sender that empties it, and the webhook."""
