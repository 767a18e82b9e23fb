"""From a job's ``schedule`` to a plan: what is known of the job, of the queue and of the grid, weighed."""
