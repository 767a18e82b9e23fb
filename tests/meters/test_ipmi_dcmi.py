"""What ipmitool and FreeIPMI print, from programs that print it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ipmi_programs import FREEIPMI, IPMITOOL, IPMITOOL_NEW, program

from hpcfrugal.core.errors import SourceError
from hpcfrugal.meters.ipmi_dcmi import IpmiDcmi, parse_power_w


def dcmi(**keys: object) -> IpmiDcmi:
    return IpmiDcmi(**{"name": "dcmi", "kind": "ipmi-dcmi", "log": "/nowhere", **keys})


@pytest.mark.parametrize(("text", "power_w"), [(IPMITOOL, 346.0), (IPMITOOL_NEW, 195.0), (FREEIPMI, 332.0)])
def test_real_outputs(text: str, power_w: float) -> None:
    assert parse_power_w(text) == power_w
    assert parse_power_w(text.replace("\n", "\r\n")) == power_w


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (IPMITOOL.replace(" activated", " deactivated"), "power measurement is not active: 'deactivated'"),
        (FREEIPMI.replace("Active", "Not Available"), "power measurement is not active: 'Not Available'"),
        (IPMITOOL.replace("346", "0"), "no power reading .0 W."),
        (FREEIPMI.replace("332", "0"), "no power reading .0 W."),
        (IPMITOOL.replace("346 Watts", "-1 Watts"), "invalid power in watts: '-1 Watts'"),
        (IPMITOOL.replace("346 Watts", "346"), "invalid power in watts: '346'"),
        (
            "    DCMI request failed because: Invalid data field in request (cc)\n",
            "no power reading .* DCMI request failed",
        ),
        ("Momentane Leistungsaufnahme: 346 Watt\nStatus: aktiv\n", "no power reading"),
        (IPMITOOL.partition("    Power reading")[0], "no power reading"),
        ("", "no power reading in the output: .empty"),
        ("\x1b[2Jgarbage\n", r"output: \ufffd\[2Jgarbage"),
    ],
)
def test_outputs_without_a_reading(text: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        parse_power_w(text)


def test_the_first_program_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    program(
        tmp_path / "bin", "ipmitool", f'[ "$*" = "dcmi power reading" ] && [ "$LC_ALL" = C ] && cat <<X\n{IPMITOOL}\nX'
    )
    assert dcmi().power_w("n1") == 346.0
    program(tmp_path / "bin", "ipmi-dcmi", f'[ "$*" = --get-system-power-statistics ] && cat <<X\n{FREEIPMI}X')
    assert dcmi().power_w("n1") == 332.0


def test_a_command_of_the_site(tmp_path: Path) -> None:
    path = program(tmp_path / "bin", "ask", f'[ "$1" = "n1; rm -rf ~-bmc" ] && cat <<X\n{IPMITOOL}\nX')
    assert dcmi(command=[str(path), "{node}-bmc"], nodes="n[1-2]").power_w("n1; rm -rf ~") == 346.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo 'Could not open device at /dev/ipmi0' >&2; exit 1", "failed with exit code 1: Could not open device"),
        ("exit 3", "failed with exit code 3: no output"),
        ("sleep 5", r"did not end within 0.3 s"),
        ("printf '\\377\\000'", "no power reading"),
    ],
)
def test_programs_that_fail(tmp_path: Path, text: str, said: str) -> None:
    path = program(tmp_path / "bin", "ask", f"exec 2>&1; {text}" if "exit 3" in text else text)
    with pytest.raises(SourceError, match=said):
        dcmi(command=[str(path)], timeout=0.3).power_w("n1")


def test_no_program(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be run: No such file"):
        dcmi(command=[str(tmp_path / "none")]).power_w("n1")


def test_neither_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("hpcfrugal.meters.ipmi_dcmi._SBIN", str(tmp_path))
    with pytest.raises(SourceError, match="neither ipmi-dcmi nor ipmitool is installed"):
        dcmi().power_w("n1")
