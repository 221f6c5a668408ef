"""The demonstration: an API on an embedded PostgreSQL, to rehearse on."""
