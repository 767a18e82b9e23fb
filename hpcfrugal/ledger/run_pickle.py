"""Runs between processes of one sync: pickled, with what each object was made of instead of how it is stored.

A frozen dataclass with slots is pickled by Python code, field by field, which would take a tenth of reading it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from operator import attrgetter
from typing import IO, Any

from hpcfrugal.ledger.table import LedgerTable
from hpcfrugal.ledger.tables import LEDGER_TABLES

_Reduce = Callable[[Any], tuple[Any, ...]]


def pickle_to(value: Any, target: IO[bytes]) -> None:
    """Write a value for ``pickle.load``. Raises ``OSError``."""
    pickler = pickle.Pickler(target, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = _REDUCERS
    pickler.dump(value)
    target.flush()


@cache
def _tables() -> dict[str, LedgerTable[Any]]:
    return {table.name: table for table in LEDGER_TABLES}


def table_named(name: str) -> LedgerTable[Any]:
    """A table of the ledger."""
    return _tables()[name]


class _Reducers(dict[type, _Reduce]):
    """By class how its objects are pickled; other classes as pickle does it."""

    def __missing__(self, kind: type) -> _Reduce:
        if not is_dataclass(kind):
            raise KeyError(kind)
        names = [item.name for item in fields(kind)]
        get = attrgetter(*names)
        values = get if len(names) > 1 else lambda one: (get(one),)
        self[kind] = lambda one: (kind, values(one))
        return self[kind]


_REDUCERS = _Reducers({LedgerTable: lambda table: (table_named, (table.name,))})
