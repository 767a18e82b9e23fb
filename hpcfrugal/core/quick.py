"""``dataclass``, made faster for records of which a sync makes many thousands.

``frozen`` is kept by type checkers alone. ``dataclasses`` would also refuse at run time to assign a field, and to get
around that sets each of them by ``object.__setattr__`` when it makes a record, which takes ten times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses

    def dataclass(kind=None, /, *, frozen=False, **options):
        """As ``dataclasses.dataclass``; ``frozen`` makes the records hashable."""
        make = dataclasses.dataclass(unsafe_hash=frozen, **options)
        return make if kind is None else make(kind)
