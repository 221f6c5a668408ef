"""The workload: what a capture says about how an API is used."""
