"""Programs that print what ipmitool and FreeIPMI's ipmi-dcmi print."""

from __future__ import annotations

from pathlib import Path

IPMITOOL = """
    Instantaneous power reading:                   346 Watts
    Minimum during sampling period:                 12 Watts
    Maximum during sampling period:                703 Watts
    Average power reading over sample period:      340 Watts
    IPMI timestamp:                           Tue Jul 16 14:57:49 2024
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   activated

"""
"""ipmitool 1.8.18."""

IPMITOOL_NEW = """
    Instantaneous power reading:                   195 Watts
    Minimum during sampling period:                188 Watts
    Maximum during sampling period:               1940 Watts
    Average power reading over sample period:      194 Watts
    IPMI timestamp:                           08/28/26 07:12:06 UTC    Sampling period:                          00000005 Seconds.
    Power reading state is:                   activated
"""  # noqa: E501
"""ipmitool 1.8.19, which leaves out a newline."""

FREEIPMI = """\
Current Power                        : 332 Watts
Minimum Power over sampling duration : 68 watts
Maximum Power over sampling duration : 504 watts
Average Power over sampling duration : 348 watts
Time Stamp                           : 11/03/2023 - 08:36:29
Statistics reporting time period     : 2685198000 milliseconds
Power Measurement                    : Active
"""


def program(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path
