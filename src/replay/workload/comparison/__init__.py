"""Two profiles side by side: what one tries and the other never does."""
