"""Low-carbon queues: which jobs wait in them, and when each of them is to start by the newest forecast."""
