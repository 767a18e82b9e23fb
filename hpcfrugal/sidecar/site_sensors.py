"""Sensors that a site or user adds: name, module and factory of each entry point of ``hpcfrugal.sensors``.

The builder of the zipapp writes this list anew and puts the modules beside the sidecar; in the package itself it
is empty.
"""

from __future__ import annotations

SENSORS: tuple[tuple[str, str, str], ...] = ()
