"""Slurm: one request for each thing that is asked of it, with a typed answer.

A request (`QueueSnapshot`, `StartTest`, `UpdateJob`, ...) is a small dataclass: what is asked for, the command
that asks for it, and how its output is read. `slurm_client()` sends it. No other package runs Slurm's commands.
"""
