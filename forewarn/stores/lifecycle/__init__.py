"""What the decisions about a model's life need to know, read from registry, ledger, reports and archive."""
