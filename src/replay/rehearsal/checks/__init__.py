"""What Stage is asked before anything is rehearsed on it."""
