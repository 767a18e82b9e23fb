"""From a job's ``schedule`` to a plan: what is known of the job, of Slurm and of the grid, and the decision."""
