"""Rows of sacct as sites of many releases print them, each with what it means or why it does not count.

From sacct(1) of Slurm 17.11 to 26.05 and from public reports: issues of reportseff, slurm2sql, GreenAlgorithms4HPC,
autosubmit and of Slurm itself, guides of LUMI, CSC, BSC. A row is written as what differs from an ordinary one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

GIB = 1 << 30
MIB = 1 << 20
KIB = 1 << 10

ORDINARY = {
    "JobIDRaw": "", "JobID": "", "Cluster": "c1", "State": "COMPLETED", "Submit": "1795000000",
    "Eligible": "1795000000", "Start": "1795000100", "End": "1795003700", "ElapsedRaw": "3600", "Suspended": "00:00:00",
    "User": "alice", "Account": "physics", "Partition": "batch", "QOS": "normal", "ExitCode": "0:0", "AllocCPUS": "8",
    "CPUTimeRAW": "28800", "NNodes": "1", "NodeList": "n1", "AllocTRES": "billing=8,cpu=8,mem=16G,node=1",
    "ReqMem": "16G", "TotalCPU": "07:30:00", "MaxRSS": "", "ConsumedEnergyRaw": "", "JobName": "job",
}  # fmt: skip
"""A job of one hour on 8 CPUs, of which it used 7.5 hours."""


class Awkward(NamedTuple):
    """``means``: fields of ``SacctJob``; a text: why the row does not count; ``value``: why a value of it does not."""

    cells: dict[str, str]
    means: dict[str, Any] | str
    value: str | None = None


def _of(column: str, *cases: tuple[Any, ...]) -> list[Awkward]:
    """Rows that differ in one column: its text, what it means, why the value does not count."""
    return [Awkward({column: case[0]}, *case[1:]) for case in cases]


def _bytes(size_b: int | None, cpus: int = 8) -> dict[str, Any]:
    return {"memory_b": size_b, "cpus": cpus}


REQUESTED = [
    Awkward({"ReqMem": text, "AllocTRES": "", "NNodes": nodes, "NodeList": f"n[1-{nodes}]"}, *meaning)
    for text, nodes, *meaning in (
        ("1T", "1", _bytes(1024 * GIB)),
        ("0", "1", _bytes(None)),
        ("0n", "1", _bytes(None)),
        ("0c", "2", _bytes(None)),
        ("", "1", _bytes(None)),
        ("4Gn", "2", _bytes(8 * GIB)),
        ("4Gc", "1", _bytes(32 * GIB)),
        ("4000Mc", "1", _bytes(32000 * MIB)),
        ("4000Mn", "3", _bytes(12000 * MIB)),
        ("2252800Kn", "1", _bytes(2252800 * KIB)),
        ("2252800Kc", "1", _bytes(8 * 2252800 * KIB)),
        ("1.50G", "1", _bytes(1536 * MIB)),
        ("62.5Gn", "2", _bytes(125 * GIB)),
        ("0.5Gc", "1", _bytes(4 * GIB)),
        ("4096", "1", _bytes(4 * GIB)),
        ("16384M", "4", _bytes(16 * GIB)),
        ("2Tn", "2", _bytes(4096 * GIB)),
        ("1P", "1", _bytes(1024 * 1024 * GIB)),
        ("16?", "1", _bytes(None), "ReqMem: '16?' is not an amount of memory such as 4000M, 16Gn or 2Gc"),
        ("-1", "1", _bytes(None), "ReqMem: '-1' is not an amount of memory such as 4000M, 16Gn or 2Gc"),
        ("lots", "1", _bytes(None), "ReqMem: 'lots' is not an amount of memory such as 4000M, 16Gn or 2Gc"),
        ("99999999999999G", "1", _bytes(None), "ReqMem: '99999999999999G' is more memory than there can be"),
    )
]

RESOURCES = [
    Awkward({"AllocTRES": text, "AllocCPUS": cpus}, *meaning)
    for text, cpus, *meaning in (
        ("billing=8,cpu=8,gres/gpu:a100=2,gres/gpu=2,mem=32G,node=1", "8", {"gpus": 2, "memory_b": 32 * GIB}),
        ("billing=8,cpu=8,gres/gpu=2,gres/gpu:a100=2,mem=32G,node=1", "8", {"gpus": 2, "gpu_types": "a100=2"}),
        ("cpu=8,gres/gpu=4,mem=32G,node=1", "8", {"gpus": 4, "gpu_types": ""}),
        ("cpu=8,gres/gpu:v100=3,mem=32G,node=1", "8", {"gpus": 3, "gpu_types": "v100=3"}),
        ("cpu=8,gres/gpu:a100=1,gres/gpu:v100=2,mem=1G,node=1", "8", {"gpus": 3}),
        ("cpu=8,gres/gpu:a100=1,gres/gpu:v100=2,gres/gpu=3,mem=1G,node=1", "8", {"gpus": 3}),
        ("cpu=8,gres/gpu:a100_3g.20gb=1,gres/gpu=1,mem=1G,node=1", "8", {"gpus": 1}),
        ("cpu=8,gres/gpu=4,gres/gpu:a100=2,mem=1G,node=1", "8", {"gpus": 4, "gpu_types": "a100=2"}),
        ("cpu=8,gres/gpu=0,mem=1G,node=1", "8", {"gpus": 0}),
        ("cpu=8,gres/shard=3,mem=1G,node=1", "8", {"gpus": 0}),
        ("cpu=8,gres/mps=50,mem=1G,node=1", "8", {"gpus": 0}),
        ("cpu=8,gres/gpumem=40G,gres/gpuutil=90,gres/gpu=1,mem=1G,node=1", "8", {"gpus": 1}),
        ("cpu=8,gres/nvme=200,mem=1G,node=1", "8", {"gpus": 0}),
        ("billing=8,cpu=8,energy=12345,mem=4000M,node=1", "8", {"memory_b": 4000 * MIB, "energy_j": None}),
        ("cpu=8,energy=18446744073709551614,mem=4000M,node=1", "8", {"memory_b": 4000 * MIB}),
        ("cpu=8,mem=16000,node=1", "8", {"memory_b": 16000 * MIB}),
        ("cpu=8,mem=0,node=1", "8", {"memory_b": 16 * GIB}),
        ("cpu=8,mem=1T,node=1", "8", {"memory_b": 1024 * GIB}),
        ("cpu=8,mem=2252800K,node=1", "8", {"memory_b": 2252800 * KIB}),
        ("cpu=8,mem=62.50G,node=1", "8", {"memory_b": 64000 * MIB}),
        ("billing=8,cpu=8,fs/disk=12,license/abc=3,bb/cray=7,ic/ofed=1,mem=1G,node=1,pages=0,vmem=0", "8", {"gpus": 0}),
        ("billing=8,cpu=8,node=1", "8", {"memory_b": 16 * GIB, "gpus": 0}),
        ("", "8", {"gpus": None, "memory_b": 16 * GIB}),
        ("cpu=16,mem=1G,node=1", "0", {"cpus": 16}),
        ("cpu=16,mem=1G,node=1", "", {"cpus": 16}),
        ("cpu=16,mem=1G,node=1", "32", {"cpus": 32}),
        ("cpu=8 mem=1G", "8", {"gpus": None}, "AllocTRES: '8 mem=1G' is not a whole number"),
        ("cpu", "8", {"gpus": None}, "AllocTRES: 'cpu' is not a list of resources such as cpu=8,mem=32G"),
        ("cpu=eight", "8", {"gpus": None}, "AllocTRES: 'eight' is not a whole number"),
        ("gpu:2", "8", {"gpus": None}, "AllocTRES: 'gpu:2' is not a list of resources such as cpu=8,mem=32G"),
        ("cpu=8", "-8", "AllocCPUS: '-8' is not a whole number"),
        ("cpu=8", "1.50K", "AllocCPUS: '1.50K' is not a whole number"),
        ("cpu=8", "٤", "AllocCPUS: '٤' is not a whole number"),
    )
]

STATES = [
    Awkward({"State": text, "ExitCode": exit_code}, *meaning)
    for text, exit_code, *meaning in (
        ("COMPLETED", "0:0", {"state": "COMPLETED", "exit_code": 0, "signal": 0}),
        ("FAILED", "1:0", {"exit_code": 1, "signal": 0}),
        ("FAILED", "0:11", {"exit_code": 0, "signal": 11}),
        ("CANCELLED by 1000", "0:15", {"state": "CANCELLED", "signal": 15}),
        ("CANCELLED by 1000", "0:0", {"state": "CANCELLED", "exit_code": None}),
        ("CANCELLED by 0", "0:9", {"state": "CANCELLED"}),
        ("CANCELLED", "0:0", {"state": "CANCELLED"}),
        ("CANCELLED+", "0:0", {"state": "CANCELLED"}),
        ("CANCELLED by root", "0:0", {"state": "CANCELLED"}),
        ("TIMEOUT", "0:0", {"state": "TIMEOUT", "exit_code": None}),
        ("OUT_OF_MEMORY", "0:125", {"signal": 125}),
        ("NODE_FAIL", "1:0", {"state": "NODE_FAIL", "exit_code": 1}),
        ("PREEMPTED", "0:0", {"state": "PREEMPTED"}),
        ("REQUEUED", "0:0", {"state": "REQUEUED"}),
        ("BOOT_FAIL", "0:0", {"state": "BOOT_FAIL"}),
        ("DEADLINE", "0:0", {"state": "DEADLINE"}),
        ("SUSPENDED", "0:0", {"state": "SUSPENDED"}),
        ("SPECIAL_EXIT", "0:0", {"state": "SPECIAL_EXIT"}),
        ("COMPLETED", "", {"exit_code": None}),
        ("COMPLETED", "256:0", {"exit_code": 256}),
        ("FAILED", "x:y", {"exit_code": None}, "ExitCode: 'x:y' is not an exit code and a signal such as 0:15"),
        ("FAILED", "1", {"exit_code": None}, "ExitCode: '1' is not an exit code and a signal such as 0:15"),
        ("", "0:0", "State: '' is not a state of a job"),
        ("completed", "0:0", "State: 'completed' is not a state of a job"),
        ("0:0", "0:0", "State: '0:0' is not a state of a job"),
    )
]

TIMES = [
    Awkward(dict(zip(("Start", "End", "ElapsedRaw", "Suspended"), texts, strict=True)), *meaning)
    for texts, *meaning in (
        (("1795000100", "1795003700", "3600", ""), {"elapsed_s": 3600, "suspended_s": None}),
        (("1795000100", "1795003700", "3600", "INVALID"), {"elapsed_s": 3600, "suspended_s": None}),
        (("1795000100", "1795003700", "3000", "00:10:00"), {"elapsed_s": 3000, "suspended_s": 600}),
        (("1795000100", "1795003700", "4000", "00:00:00"), {"elapsed_s": 3600}),
        (("1795000100", "1795003700", "", "00:10:00"), {"elapsed_s": 3000}),
        (("1795000100", "1795003700", "INVALID", ""), {"elapsed_s": 3600}),
        (("1795000100", "1795003700", "4294967294", ""), {"elapsed_s": 3600}),
        (("1795000100", "Unknown", "3600", ""), {"end_s": None, "elapsed_s": 3600}),
        (("1795000100", "0", "3600", ""), {"end_s": None, "elapsed_s": 3600}),
        (("Unknown", "Unknown", "0", ""), {"start_s": None, "end_s": None, "elapsed_s": None}),
        (("None", "1795000900", "0", ""), {"start_s": None, "end_s": 1795000900, "elapsed_s": None}),
        (("N/A", "N/A", "0", ""), {"start_s": None}),
        (("", "", "", ""), {"start_s": None, "end_s": None}),
        (("1795003700", "1795000100", "0", ""), {"start_s": 1795003700, "end_s": 1795003700, "elapsed_s": 0}),
        (("1795000100", "1795000100", "0", ""), {"elapsed_s": 0}),
        (("2026-11-17T23:08:20+02:00", "1795003700", "", ""), {"start_s": 1794949700}),
        (("2026-11-17T21:08:20Z", "1795003700", "", ""), {"start_s": 1794949700}),
        (("2026-11-17T21:08:20", "1795003700", "3600", ""), "Start: '2026-11-17T21:08:20' has no time zone; --timez"),
        (("1795000100", "soon", "3600", ""), "End: 'soon' is not a time such as 2026-11-28T20:15:00"),
        (("17 Nov 21:08", "1795003700", "3600", ""), "Start: '17 Nov 21:08' is not a time such as 2026-11-28T20:15:"),
        (("1795000100", "99999999999999", "3600", ""), "End: '99999999999999' is not a time between 2000 and 2200"),
        (("12", "1795003700", "3600", ""), "Start: '12' is not a time between 2000 and 2200"),
        (("1795000100", "1795003700", "an hour", ""), "ElapsedRaw: 'an hour' is not a whole number"),
        (("1795000100", "1795003700", "3600.5", ""), "ElapsedRaw: '3600.5' is not a whole number"),
        (("1795000100", "1795003700", "3600", "x"), {"suspended_s": None}, "Suspended: 'x' is not a time such as "),
    )
]

SUBMITTED = _of(
    "Submit",
    ("1795000000", {"submit_s": 1795000000}),
    ("Unknown", "Submit: has no time of submission, or no state"),
    ("", "Submit: has no time of submission, or no state"),
    ("yesterday", "Submit: 'yesterday' is not a time such as 2026-11-28T20:15:00"),
)

CPU_TIMES = _of(
    "TotalCPU",
    ("00:01.234", {"cpu_us": 1_234_000}),
    ("00:00.001", {"cpu_us": 1_000}),
    ("01:02:03", {"cpu_us": 3_723_000_000}),
    ("1-02:03:04", {"cpu_us": 93_784_000_000}),
    ("123-00:00:00", {"cpu_us": 10_627_200_000_000}),
    ("23:59.999", {"cpu_us": 1_439_999_000}),
    ("00:00.227", {"cpu_us": 227_000}),
    ("09:00:00", {"cpu_us": 32_400_000_000}),  # above CPUTime, 28,800 s
    ("4-00:00:00", {"cpu_us": 345_600_000_000}),
    ("00:00:00", {"cpu_us": None}),  # nothing was counted of an hour
    ("00:00.000", {"cpu_us": None}),
    ("", {"cpu_us": None}),
    ("INVALID", {"cpu_us": None}),
    ("12", {"cpu_us": None}, "TotalCPU: '12' is not a time such as 00:01.234, 01:02:03 or 1-02:03:04"),
    ("-1:00", {"cpu_us": None}, "TotalCPU: '-1:00' is not a time such as 00:01.234, 01:02:03 or 1-02:03:04"),
    ("1:2:3:4", {"cpu_us": None}, "TotalCPU: '1:2:3:4' is not a time such as 00:01.234, 01:02:03 or 1-02:03:04"),
)

ENERGIES = _of(
    "ConsumedEnergyRaw",
    ("101630", {"energy_j": 101630}),
    ("0", {"energy_j": 0}),
    ("", {"energy_j": None}),
    ("16777214", {"energy_j": None}),
    ("4294967294", {"energy_j": None}),
    ("4294967295", {"energy_j": None}),
    ("18446744073709551614", {"energy_j": None}),
    ("18446744073709551615", {"energy_j": None}),
    ("4190000000", {"energy_j": 4190000000}),
    ("12096000000000", {"energy_j": 12096000000000}),  # 20 MW for a week
    ("-5", {"energy_j": None}, "ConsumedEnergyRaw: '-5' is not a whole number of joules"),
    ("1.5", {"energy_j": None}, "ConsumedEnergyRaw: '1.5' is not a whole number of joules"),
    ("101.63K", {"energy_j": None}, "ConsumedEnergyRaw: '101.63K' is not a whole number of joules"),
    ("9999999999999999", {"energy_j": None}, "ConsumedEnergyRaw: '9999999999999999' J is more than a job can use"),
)

MEMORY = _of(
    "MaxRSS",
    ("28952K", {"max_rss_b": 28952 * KIB}),
    ("2.05M", {"max_rss_b": 2149580}),
    ("65328488K", {"max_rss_b": 65328488 * KIB}),
    ("154264", {"max_rss_b": 154264}),
    ("0", {"max_rss_b": 0}),
    ("", {"max_rss_b": None}),
    ("1.5G", {"max_rss_b": 1536 * MIB}),
    ("16777216T", {"max_rss_b": None}, "MaxRSS: '16777216T' is more memory than there can be"),
    ("12 MB", {"max_rss_b": None}, "MaxRSS: '12 MB' is not an amount of memory such as 4000M, 16Gn or 2Gc"),
)

NODES = [
    Awkward({"NodeList": names, "NNodes": number, "AllocTRES": ""}, *meaning)
    for names, number, *meaning in (
        ("n[1-3]", "3", {"node_names": ["n1", "n2", "n3"], "node_count": 3}),
        ("n[01-02,07],gpu1", "4", {"node_names": ["n01", "n02", "n07", "gpu1"]}),
        ("r[1-2]c[1-2]", "4", {"node_names": ["r1c1", "r1c2", "r2c1", "r2c2"]}),
        ("n1.cluster.example.org", "1", {"node_names": ["n1.cluster.example.org"]}),
        ("None assigned", "2", {"node_names": [], "node_count": 2}),
        ("", "2", {"node_names": [], "node_count": 2}),
        ("(null)", "1", {"node_names": []}),
        ("Unknown", "1", {"node_names": []}),
        ("n[1-3]", "0", {"node_count": 3}),
        ("n[1-3]", "", {"node_count": 3}),
        ("n[1-3", "3", {"node_names": [], "node_count": 3}, "NodeList: 'n[1-3' does not close its bracket"),
        ("n[3-1]", "3", {"node_names": []}, "NodeList: the range 3-1 in 'n[3-1]' runs backwards."),
        ("n[1-99999999]", "3", {"node_names": []}, "NodeList: 'n[1-99999999]' names more than 65536 nodes."),
        ("n1", "1K", {"node_names": ["n1"], "node_count": 1}, "NNodes: '1K' is not a whole number"),
    )
]

WORDS = [
    *_of(
        "JobName",
        ("None", {"name": "None"}),
        ("", {"name": None}),
        ("a=b,c;d", {"name": "a=b,c;d"}),
        ("tabs\tin it", {"name": "tabs\tin it"}),
        ("Jürgens Läufe €", {"name": "Jürgens Läufe €"}),
        ("debris \N{REPLACEMENT CHARACTER}(", {"name": "debris \N{REPLACEMENT CHARACTER}("}),
        ("\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe", {"name": "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe"}),
        ("\x1b[31mred", {"name": "\x1b[31mred"}),
        ('say "no"', {"name": 'say "no"'}),
        ("x" * 1000, {"name": "x" * 1000}),
        ("a|b", {"name": "a|b"}),
        ("|", {"name": "|"}),
        ("a|b|c|d|e|f|g|h|i", {"name": "a|b|c|d|e|f|g|h|i"}),
        ("two\nlines", {"name": "two\nlines"}),
        ("three\n\nlines|with it", {"name": "three\n\nlines|with it"}),
        ("ends here\n", {"name": "ends here\n"}),
        ("123456.batch\n", {"name": "123456.batch\n"}),
        ("line separator\u2028in it\x0band\x0cmore\x85", {"name": "line separator\u2028in it\x0band\x0cmore\x85"}),
    ),
    *_of(
        "User",
        ("", {"user": None}),
        ("Unknown", {"user": None}),
        ("u12345@example.org", {"user": "u12345@example.org"}),
        ("4294967294", {"user": "4294967294"}),
    ),
    *_of("Account", ("", {"account": None}), ("physics/theory", {"account": "physics/theory"})),
    *_of("Partition", ("", {"partition": None}), ("batch,long,gpu", {"partition": "batch,long,gpu"})),
    *_of("QOS", ("", {"qos": None}), ("Unknown", {"qos": None}), ("normal", {"qos": "normal"})),
    *_of("Cluster", ("", {"cluster": "here"}), ("c2", {"cluster": "c2"})),
]

IDS = [
    Awkward({"JobIDRaw": raw, "JobID": shown}, *meaning)
    for raw, shown, *meaning in (
        ("900001", "900001", {"job_id": "900001", "array_job_id": None}),
        ("900003", "900002_0", {"job_id": "900003", "array_job_id": "900002", "array_task_id": "0"}),
        ("900004", "900002_17", {"job_id": "900004", "array_task_id": "17"}),
        ("900002", "900002_[18-99%4]", {"job_id": "900002", "array_job_id": "900002", "array_task_id": None}),
        ("900005", "900005_[1,3,5-7]", {"job_id": "900005", "array_task_id": None}),
        ("900010", "900010+0", {"job_id": "900010"}),
        ("900011", "900010+1", {"job_id": "900011", "array_job_id": None}),
        ("", "900020+2", "JobIDRaw: '' is not a job id of Slurm"),
        ("900030", "", "does not begin with a job id"),
        ("x", "900031", "JobIDRaw: 'x' is not a job id of Slurm"),
        ("2147483647", "2147483647", {"job_id": "2147483647"}),
    )
]

CASES = [
    *REQUESTED, *RESOURCES, *STATES, *TIMES, *SUBMITTED, *CPU_TIMES, *ENERGIES, *MEMORY, *NODES, *WORDS, *IDS,
]  # fmt: skip


def rows(cases: list[Awkward], delimiter: str = "|") -> tuple[str, list[str]]:
    """All of them as one text, and the job id of each."""
    names = ["JobID", *(name for name in ORDINARY if name != "JobID")]
    lines, ids = [delimiter.join(names)], []
    for number, case in enumerate(cases, 1):
        own = str(1000 + number)
        cells = ORDINARY | {"JobIDRaw": own, "JobID": own} | case.cells
        lines.append(delimiter.join(cells[name] for name in names))
        ids.append(cells["JobIDRaw"])
    return "".join(f"{line}\n" for line in lines), ids
