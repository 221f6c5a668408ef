"""What a capture shows: endpoints, clients, visits, arrivals, and the values that hang together."""
