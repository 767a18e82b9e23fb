"""Reading and checking options by the rows of a table, as sbatch's getopt does.

An option that is in no row (a site's SPANK plugin, a newer Slurm) is passed on as it stands. sbatch accepts any
unambiguous beginning of a long name, so a shortened form of a refused option is refused as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from hpcfrugal.core.quick import dataclass
from hpcfrugal.core.section import Fault, Faults
from hpcfrugal.core.text import quoted_value
from hpcfrugal.job.sbatch_options import SbatchOption
from hpcfrugal.job.text_types import to_line, to_switch


@dataclass(frozen=True, slots=True)
class Flag:
    """One option as sbatch would read it: its full long name where that is known, and its value."""

    name: str
    value: str | None


class OptionTable:
    """All options of sbatch that are known.

    ``keys`` maps each key of the job file that stands for an option (``resources.mem``) to that option; the order is
    the one in which flags are rendered. ``others`` are the options without a key.
    """

    def __init__(self, keys: Mapping[str, SbatchOption], others: Iterable[SbatchOption]) -> None:
        self.keys = dict(keys)
        self._key_of = {option.name: key for key, option in keys.items()}
        rows = [*keys.values(), *others]
        for option in keys.values():
            if option.opposite is not None:
                rows.append(SbatchOption(option.opposite, argument="none"))
                self._key_of[option.opposite] = self._key_of[option.name]
        self._by_name = {name: option for option in rows for name in (option.name, *option.other_names)}
        self._by_letter = {option.short: option for option in rows if option.short}

    def find(self, name: str) -> SbatchOption | None:
        """The option that sbatch takes a long name for: the name in full, or its unambiguous beginning."""
        if name in self._by_name:
            return self._by_name[name]
        starting = {option.name: option for known, option in self._by_name.items() if known.startswith(name)}
        return next(iter(starting.values())) if name and len(starting) == 1 else None

    def nearest(self, name: str) -> str | None:
        """The long name that an unknown one may be a mistake for; None where it is like none."""
        from difflib import get_close_matches  # needed only for unknown options

        return next(iter(get_close_matches(name, self._by_name, n=1, cutoff=0.8)), None)

    def known(self, name: str) -> SbatchOption | None:
        """The option with this full name."""
        return self._by_name.get(name)

    def key_of(self, name: str) -> str | None:
        """The key of the job file that stands for the option of this full name."""
        return self._key_of.get(name)

    def needs_value(self, name: str) -> bool:
        """Whether the option of this full name can't stand without a value."""
        option = self.known(name)
        return option is not None and option.argument == "required"

    def read(self, words: Sequence[str]) -> list[Flag]:
        """Read words as getopt does: up to the first that is no option, a value in the same word or the next.

        An unknown long option without ``=`` is taken to have no value.
        """
        return self.split(words)[0]

    def split(self, words: Sequence[str]) -> tuple[list[Flag], list[str]]:
        """The options that :meth:`read` gives, and the words from the first that is none."""
        flags: list[Flag] = []
        rest = list(words)
        while rest and rest[0].startswith("-") and rest[0] not in {"-", "--"}:
            word = rest.pop(0)
            if word.startswith("--"):
                name, equals, text = word[2:].partition("=")
                option = self.find(name)
                value = text if equals else None
                if value is None and option is not None and option.argument == "required" and rest:
                    value = rest.pop(0)
                flags.append(Flag(option.name if option is not None else name, value))
                continue
            letters = word[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                option = self._by_letter.get(letter)
                if option is None or option.argument == "none":
                    flags.append(Flag(option.name if option is not None else letter, None))
                    continue
                if option.argument == "required" and not letters and rest:
                    letters = rest.pop(0)
                flags.append(Flag(option.name, letters or None))
                break
        return flags, rest

    def refusals(self) -> Iterator[tuple[str, str]]:
        """Each option that `sbatch:` refuses, by its full name, with what to do instead."""
        for name, option in sorted(self._by_name.items()):
            reason = self._why_refused(option)
            if reason is not None and not option.other_values:
                yield name, reason

    def refusals_in_script(self) -> Iterator[tuple[str, str]]:
        """Each option that is refused in a script, by its full name, with what to do instead."""
        for name, option in sorted(self._by_name.items()):
            if not option.in_script and option.refused is not None:
                yield name, option.refused

    def _why_refused(self, option: SbatchOption) -> str | None:
        key = self._key_of.get(option.name)
        return option.refused if key is None else f"use the key `{key}`"

    def _refused(self, flag: Flag) -> SbatchOption | None:
        """The refused option that a flag is or shortens; None where it may pass."""
        option = self._by_name.get(flag.name)
        if option is None:
            starting = [known for name, known in sorted(self._by_name.items()) if name.startswith(flag.name)]
            refused = [known for known in starting if self._why_refused(known) is not None]
            return refused[0] if len(flag.name) > 1 and refused else None
        return option if flag.value not in option.other_values and self._why_refused(option) is not None else None

    def check(self, entry: object) -> str:
        """One extra option, as one word that sbatch reads as nothing else; raises ValueError with the reason."""
        text = to_line(entry)
        if not text.startswith("-") or text.strip("-") == "":
            raise ValueError(
                f"{quoted_value(text)} is not an option; options start with `-`, such as --licenses=matlab:1"
            )
        word = text.partition("=")[0]
        if any(char.isspace() for char in word):
            name, _, value = text.partition(" ")
            option = self._by_letter.get(name[1:])
            long = f"--{option.name if option is not None else name.lstrip('-')}"
            raise ValueError(
                f"{quoted_value(text)} contains a blank; write it as one word, such as {long}={value.strip()}"
            )
        for flag in self.read([text]):
            refused = self._refused(flag)
            if refused is not None:
                raise ValueError(f"{word} can't be set here (--{refused.name}): {self._why_refused(refused)}")
            option = self._by_name.get(flag.name)
            argument = option.argument if option is not None else None
            if argument == "required" and flag.value is None:
                # Without its value the option would swallow the next word of sbatch's command line.
                raise ValueError(f"{text} needs a value in the same entry, such as --{flag.name}=VALUE")
            if argument == "none" and flag.value is not None:
                raise ValueError(f"--{flag.name} takes no value; write --{flag.name} alone")
            if len(flag.name) == 1:
                raise ValueError(f"-{flag.name} is not an option of sbatch")
        return text

    def extra_flags(self, value: object) -> tuple[str, ...]:
        """The ``sbatch`` key: a list of options, or a mapping of their names (``licenses: matlab:1``).

        Raises:
            ValueError: it is neither; or Faults, with each entry that is wrong.
        """
        entries: list[tuple[str | int, object]]
        if isinstance(value, Mapping):
            entries = [(str(key), self._from_mapping(str(key).lstrip("-"), setting)) for key, setting in value.items()]
        elif isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError("must be a list of options, such as [--licenses=matlab:1, --nice=100]")
        else:
            entries = list(enumerate(value))
        found: list[str] = []
        faults: list[Fault] = []
        for place, entry in entries:
            if entry is False:
                continue
            try:
                found.append(self.check(entry))
            except ValueError as error:
                faults.append(Fault((place,), str(error)))
        if faults:
            raise Faults(*faults)
        return tuple(found)

    def _from_mapping(self, name: str, setting: object) -> object:
        """``contiguous: true`` is the bare option, ``false`` leaves it out, another value goes behind a ``=``."""
        long = len(name) > 1
        option = self.find(name) if long else self._by_letter.get(name)
        word = f"--{name}" if long else f"-{name}"
        if option is not None and option.argument == "none" and isinstance(setting, str):
            try:
                setting = to_switch(setting)
            except ValueError:
                pass  # the check of the entry says that it takes no value
        if setting is None or setting is True:
            return word
        if setting is not False and isinstance(setting, str | int | float):
            return f"{word}={setting}" if long else f"{word}{setting}"
        return setting
