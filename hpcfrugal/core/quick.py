"""``dataclass``, made faster: to define for commands that mostly import, to create for a sync of many thousand records.

``dataclasses`` writes and compiles six methods for a frozen class, which takes half a millisecond, and more than all of
`submit` takes to read its job file where there are eighty of them. Here one method is compiled, ``__init__``, when the
first record is made; the others are the same for all classes.

``frozen`` is kept by type checkers alone. ``dataclasses`` would also refuse at run time to assign a field, and to get
around that sets each of them by ``object.__setattr__`` when it makes a record, which takes ten times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses
    from functools import partial
    from operator import attrgetter
    from reprlib import recursive_repr

    def dataclass(kind=None, /, *, frozen=False, order=False, **options):
        """As ``dataclasses.dataclass``; ``frozen`` makes the records hashable."""
        if order:
            make = dataclasses.dataclass(unsafe_hash=frozen, order=True, **options)
        else:
            make = partial(_light, hashable=frozen, **options)
        return make if kind is None else make(kind)

    def _light(kind, hashable, repr=True, **options):
        own = vars(kind)
        methods = {"__eq__": _equal, "__hash__": _hash if hashable else None, **({"__repr__": _repr} if repr else {})}
        methods = {name: method for name, method in methods.items() if own.get(name) is None}
        kind.__doc__ = kind.__doc__ or kind.__name__  # else `dataclasses` takes 2 ms to write one of the signature
        kind = dataclasses.dataclass(init=False, eq=False, repr=False, **options)(kind)
        fields = dataclasses.fields(kind)
        names = [field.name for field in fields if field.compare]
        kind.__compared__ = staticmethod(attrgetter(*names) if names else lambda record: None)
        kind.__init__ = _init(kind, fields)
        for name, method in methods.items():
            setattr(kind, name, method)
        return kind

    def _init(kind, fields):
        """An ``__init__`` that replaces itself by that of ``dataclasses`` when it is first called."""

        def begin(self, *args, **values):
            own = {name: getattr(kind, name) for name in ("__doc__", "__post_init__") if hasattr(kind, name)}
            again = [(one.name, object, _again(one)) for one in fields]
            like = dataclasses.make_dataclass(kind.__name__, again, eq=False, repr=False, namespace=own).__init__
            like.__qualname__ = f"{kind.__qualname__}.__init__"
            like.__annotations__ = {one.name: one.type for one in fields if one.init}
            kind.__init__ = like
            like(self, *args, **values)

        return begin

    def _again(field):
        """The same field for another class; a ``Field`` itself belongs to one."""
        return dataclasses.field(
            default=field.default, default_factory=field.default_factory, init=field.init, kw_only=field.kw_only
        )

    def _equal(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        return self.__compared__(self) == self.__compared__(other)

    def _hash(self):
        return hash(self.__compared__(self))

    @recursive_repr()
    def _repr(self):
        values = (f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self) if one.repr)
        return f"{self.__class__.__qualname__}({', '.join(values)})"
