"""The node agent: one process a node that divides its energy among all of its jobs, whoever submitted them.

It reads the sensors of the sidecar, finds the jobs by their control groups or processes, and divides what was read
since the sample before. ``python3 -I -S sidecar.pyz agent --folder DIR --node NAME [...]``, see ``command``.
"""

from __future__ import annotations

AGENT_SCHEMA = 1
"""Version of the lines of its files and of the file that it publishes."""
