"""How an alert reaches people: the outbox, the sender that empties it, and the webhook."""
