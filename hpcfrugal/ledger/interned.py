"""What many rows share: the dictionaries of the ledger, as marks of the fields whose values stand there once.

Fields that are marked together make one entry.
"""

from __future__ import annotations

from typing import Annotated

from hpcfrugal.core.record import Interned

TEXT = Interned("texts", "text")
NODE = Interned("nodes", "node")
KIND = Interned("channel_kinds", "kind", together=True)
NOTE = Interned("channel_notes", "note", together=True)
SETUP = Interned("sidecar_setups", "setup", together=True)
UNUSED = Interned("unused_sensors", "sensor", together=True)
PLACE = Interned("places", "place", together=True)
CODE = Interned("code_states", "code", together=True)

Text = Annotated[str, TEXT]
MaybeText = Annotated[str | None, TEXT]
Node = Annotated[str, NODE]
