"""What a capture is like, at any size: clients, visits, arrivals, hot keys, variants, in small tables."""
