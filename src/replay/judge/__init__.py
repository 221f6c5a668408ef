"""The judge: evidence in, verdict out, and nothing else."""
