"""Distributions in a site-packages directory that bring sensors of their own."""

from __future__ import annotations

from pathlib import Path

SENSOR = """
class Meter:
    name = "wattmeter"
    component = "node"
    may_block = True

    def __init__(self, base, path):
        self.base = base
        self.path = path

    def open(self):
        channel = self.base.Channel("node", "pdu", "wattmeter", max_w=5000, detail=self.path, boundary="node",
                                    quantity=self.base.POWER_UW)
        return self.base.Opened([channel], [], [])

    def read(self):
        return [350_000_000]

    def close(self):
        pass


def make(base, sysfs):
    return Meter(base, sysfs + "/pdu")


def broken(base, sysfs):
    raise RuntimeError("no meter here")


class Liar(Meter):
    def open(self):
        opened = super().open()
        opened.channels[0].quality = "perfect"
        return opened


def lie(base, sysfs):
    return Liar(base, sysfs)


def hang(base, sysfs):
    import time

    time.sleep(60)
"""


def install(site: Path, name: str, entries: dict[str, str], files: dict[str, str]) -> Path:
    """A distribution in ``site`` with these entry points and files."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{key} = {value}" for key, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[hpcfrugal.sensors]", *lines, ""]))
    for path, text in files.items():
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return site
