"""Results files that are there: read, joined, compared and kept; and what stands for one."""
