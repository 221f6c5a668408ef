"""Scenarios: a workload that locust can run."""
