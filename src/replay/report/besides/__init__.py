"""What probes read besides locks, lag and log: for whoever reads the report. Nothing here decides anything."""
