"""The rehearsal: a change run on Stage while the traffic is replayed."""
