"""What the probes saw, as findings: lock queues, replica lag, log floods, and the statement behind them."""
