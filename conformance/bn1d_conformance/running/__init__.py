"""Runs: of one subject in processes of its own, of several, of a part; here or on a cluster."""
