"""Compiled templates in the user's cache."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from hpcfrugal.job.template_cache import TemplateCache, template_cache


def rendered(templates: Path, cache: Path) -> str:
    loader = jinja2.FileSystemLoader(str(templates))
    environment = jinja2.Environment(loader=loader, bytecode_cache=TemplateCache(cache))
    return environment.get_template("one").render(name="x")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "one").write_text("hello {{ name }}")
    return tmp_path, tmp_path / "cache/templates"


def test_a_template_is_compiled_once(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert rendered(*folders) == "hello x"
    (kept,) = folders[1].iterdir()
    assert (kept.stat().st_mode & 0o777, folders[1].stat().st_mode & 0o777) == (0o600, 0o700)
    monkeypatch.setattr(jinja2.Environment, "compile", None)
    assert rendered(*folders) == "hello x"


def test_one_that_was_changed_is_compiled_again(folders: tuple[Path, Path]) -> None:
    rendered(*folders)
    (folders[0] / "one").write_text("good bye {{ name }}")
    assert rendered(*folders) == "good bye x"
    assert rendered(*folders) == "good bye x"


@pytest.mark.parametrize("cut", [0, 1, 9, 20, -20])
def test_a_damaged_file_does_not_count(folders: tuple[Path, Path], cut: int) -> None:
    rendered(*folders)
    (kept,) = folders[1].iterdir()
    kept.write_bytes(kept.read_bytes()[:cut])
    assert rendered(*folders) == "hello x"


def test_a_link_does_not_count(folders: tuple[Path, Path]) -> None:
    rendered(*folders)
    (kept,) = folders[1].iterdir()
    target = kept.rename(folders[0] / "elsewhere")
    target.write_bytes(target.read_bytes().replace(b"hello", b"HELLO"))
    kept.symlink_to(target)
    assert rendered(*folders) == "hello x"


def test_without_a_place_for_it(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    (folders[0] / "cache").write_text("a file")
    assert rendered(*folders) == "hello x"
    monkeypatch.setenv("HOME", "relative")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert template_cache() is None
