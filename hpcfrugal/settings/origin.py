"""The origin of a value in the settings."""

from __future__ import annotations

from dataclasses import replace

from hpcfrugal.core.quick import dataclass
from hpcfrugal.settings.toml_file import Keys, TomlFile


@dataclass(frozen=True, slots=True)
class SettingOrigin:
    """A key of a settings file, an environment variable, or the built-in default.

    ``source`` names the variable, or is ``default``; for a key of a file it is the file's path.
    """

    source: str
    file: TomlFile | None = None
    keys: Keys = ()

    @classmethod
    def of_file(cls, file: TomlFile, *keys: str) -> SettingOrigin:
        return cls(str(file.path), file, keys)

    def below(self, *keys: str) -> SettingOrigin:
        """The origin of a key below this one; of a variable, which has no keys below it, the variable."""
        return self if self.file is None else replace(self, keys=(*self.keys, *keys))

    @property
    def line(self) -> int | None:
        """Its line in a file."""
        return self.file.line_of(self.keys) if self.file is not None else None

    @property
    def place(self) -> str:
        """``FILE:LINE``, the name of the variable, or ``default``."""
        line = self.line
        return self.source if line is None else f"{self.source}:{line}"

    @property
    def key(self) -> str:
        """The key with dots, "" for a variable or the default."""
        return ".".join(self.keys)

    def __str__(self) -> str:
        """The place and the key, as in error messages: ``FILE:LINE: carbon.zone``."""
        return f"{self.place}: {self.key}" if self.keys else self.place
