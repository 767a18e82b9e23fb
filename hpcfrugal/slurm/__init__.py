"""Everything that is said to Slurm or heard from it."""
