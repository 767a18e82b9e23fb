"""Low-carbon queues: their waiting jobs, and the start of each by the newest forecast."""
