"""Running jobs and commands on this machine, without Slurm."""
