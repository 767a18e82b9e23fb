"""Changes of the sensors while sampling, each of which needs a new header: a source that is replaced, late or new."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .sensor_in_use import ActiveChannel, Fallback
    from .sensor_selection import SensorSelection
    from .sensor_watch import SensorWatch


class SensorChanges:
    """What has changed since the sample before; ``watch`` is None where nothing can come later."""

    def __init__(self, selection: SensorSelection, watch: SensorWatch | None) -> None:
        self._selection = selection
        self._watch = watch
        self._failed: list[ActiveChannel] = []
        self._new: Sequence[Fallback] = ()

    def are_due(self) -> bool:
        """Whether there may be a change. Write what the meters have counted, then call ``apply``."""
        self._failed = self._selection.replaceable()
        self._new = () if self._watch is None else self._watch.new_sources()
        return bool(self._failed or self._new or self._has_news())

    def apply(self) -> bool:
        """Replace and open sources; whether a new header is due."""
        # each of them, whatever the others have found
        return any(
            [
                self._selection.replace(self._failed),
                bool(self._new) and self._selection.look_again(self._new),
                self._has_news(),
            ]
        )

    def _has_news(self) -> bool:
        return self._selection.has_late_opened() or self._selection.has_new_problem()
