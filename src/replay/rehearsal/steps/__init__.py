"""What is done to Stage at the plan's moments: read from its table, prepared, and run with a mark for each thing."""
