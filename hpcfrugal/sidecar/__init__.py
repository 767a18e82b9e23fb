"""What runs on a compute node beside a job: samples energy counters and appends them to the run directory.

Everything here is standard library plus ``pynvml``, imports nothing else of hpcfrugal, and is shipped to the
node as one zipapp (see ``hpcfrugal.spool.zipapp``). It is kept runnable by Python 3.9, because the interpreter of
a node is not the one of the login node, and it avoids the modules that are slow or large to import
(argparse, json, typing, signal, dataclasses).
"""

from __future__ import annotations

VERSION = "0.1.0"
"""Version written into every header line; a test keeps it equal to the package's own."""

SAMPLES_SCHEMA = 1
"""Version of the line formats, see ``spool`` in the package for the reader's side."""
