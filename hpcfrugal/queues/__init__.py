"""Low-carbon queues: the jobs that wait in them, and the start of each by the newest forecast."""
