"""Effects of the steps on endpoints: failures, latency and outages, told from what Stage does anyway."""
