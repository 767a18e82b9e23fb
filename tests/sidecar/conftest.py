"""Fixtures of the sidecar's tests: the built zipapp, a fake NVML library and a fake RAPL tree."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

FAKES = str(Path(__file__).resolve().parents[1] / "fakes")
if FAKES not in sys.path:
    sys.path.insert(0, FAKES)

from fake_nvml import FakeNvml, compile_library  # noqa: E402
from fake_rapl import FakeRapl, two_sockets  # noqa: E402
from small_disk import mounted  # noqa: E402

from hpcfrugal.spool.zipapp import sidecar_zipapp  # noqa: E402

if TYPE_CHECKING:
    from simulated_node import SimulatedNode


@pytest.fixture(scope="session")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sidecar_zipapp(tmp_path_factory.mktemp("zipapp") / "sidecar.pyz")


@pytest.fixture(scope="session")
def nvml_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def make_nvml(nvml_folder: Path, tmp_path: Path) -> Callable[..., FakeNvml]:
    def make(**settings: Any) -> FakeNvml:
        control = tmp_path / "nvml-control"
        control.mkdir(exist_ok=True)
        return FakeNvml(nvml_folder, control, **settings)

    return make


@pytest.fixture
def rapl(tmp_path: Path) -> FakeRapl:
    return two_sockets(tmp_path / "sys")


@pytest.fixture
def make_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SimulatedNode]:
    from simulated_node import SimulatedNode

    def make(**settings: Any) -> SimulatedNode:
        return SimulatedNode(tmp_path, monkeypatch, **settings)

    return make


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    with mounted(tmp_path / "small") as folder:
        yield folder
