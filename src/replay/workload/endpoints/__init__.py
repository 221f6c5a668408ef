"""Path templates and operations: what is called, found from traffic or given as rules."""
