"""Recording traffic while it flows: a proxy or a mirror's sink in this process, the writer in one of its own."""
