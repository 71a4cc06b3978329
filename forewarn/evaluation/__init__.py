"""How good predictions were: labels, outcomes, metrics, backtests."""
