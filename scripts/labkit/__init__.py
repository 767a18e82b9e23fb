"""The lab: a real Slurm cluster with simulated energy sensors on one machine, for tests of hpcfrugal."""
