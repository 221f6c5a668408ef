"""Values that hang together: handed out by a response, sent back by a later request; and dates that move."""
