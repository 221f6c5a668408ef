"""Long arms without steps: digests that fit in memory, levels, drift, and the verdict on a soak."""
