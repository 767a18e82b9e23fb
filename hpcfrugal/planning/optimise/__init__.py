"""When to run: pure functions of a carbon series and a job. Modules that need numpy are imported by their own names.

``window``: one uninterrupted job; ``segments``: an interruptible job; ``runtimes``: uncertain run times; ``shrinkage``:
forecast errors; ``waiting``: the wait in the queue; ``pareto``: carbon against money and delay; ``capacity`` (with
numpy): many jobs that share a capacity.
"""

from hpcfrugal.planning.optimise.errors import NotCovered, TooLate
from hpcfrugal.planning.optimise.segments import plan_segments
from hpcfrugal.planning.optimise.window import Window, plan_window

__all__ = ["NotCovered", "TooLate", "Window", "plan_segments", "plan_window"]
