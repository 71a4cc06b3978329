"""Messages to people: rendering, channels and the outbox."""
