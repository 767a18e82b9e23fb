"""The command line of the lab."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

from . import cluster, container, hardware, install, login, nodes, paths, slurm, truth
from .errors import LabError

FAULTS = "NOT_SUPPORTED, NO_POWER, NO_PERMISSION, DRIVER_NOT_LOADED, 'GPU_IS_LOST K', 'hang SECONDS', none"


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.slurm not in (None, container.here()):
            return _run_in(container.Container(arguments.slurm), arguments, sys.argv[1:] if argv is None else argv)
        return int(_run(arguments))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def _run_in(there: container.Container, a: argparse.Namespace, argv: list[str]) -> int:
    """The same command in the container of a release."""
    if a.command == "up":
        there.start(a.cgroup)
    running = there.running()
    if a.command == "down":
        if running is None:
            print("there is no lab")
            return 0
        script = f"{running.project}/scripts/lab"
        code = subprocess.run(
            [script, "inside", "--slurm", a.slurm, "--", script, *argv], check=False, cwd="/"
        ).returncode
        there.stop()
        return code
    if running is not None and running.project != str(paths.PROJECT):
        raise LabError(f"this lab is up for {running.project}; `scripts/lab down --slurm {a.slurm}` ends it")
    if a.command == "inside":
        return there.enter(_command(a), os.getcwd(), os.environ)
    return there.enter([str(paths.PROJECT / "scripts/lab"), *argv], "/", os.environ)


def _command(a: argparse.Namespace) -> list[str]:
    words: list[str] = a.argv[1:] if a.argv[:1] == ["--"] else a.argv
    if not words:
        raise LabError(f"{a.command} wants a command")
    return words


def _run(a: argparse.Namespace) -> int:
    match a.command:
        case "up":
            if a.cgroup not in (None, "v2" if slurm.PURE_V2 else "v1"):
                raise LabError(f"this machine has no cgroup {a.cgroup}; `--slurm` makes a container that has it")
            print(cluster.up(a.proctrack or ("cgroup" if a.cgroup else None)))
            if a.install:
                print(f"installed {install.install(paths.PROJECT)}")
        case "down":
            print(cluster.down())
        case "install":
            print(f"installed {install.install(paths.PROJECT)} into {paths.VENV}")
        case "status":
            report = cluster.status()
            print(json.dumps(report, indent=2) if a.json else _describe(report))
            return 0 if report["healthy"] else 1
        case "exec":
            login.execute(_command(a), user=a.user, node=a.node, cwd=a.cwd, extra_env=login.parse_env(a.env))
        case "inside":
            words = _command(a)
            os.execvp(words[0], words)
        case "truth":
            from_ns, to_ns = truth.seconds_to_ns(a.t0), truth.seconds_to_ns(a.t1)
            print(json.dumps(truth.energy_uj(a.node, from_ns, to_ns, a.clock)))
        case "deny" | "allow":
            nodes.allow(a.node, everyone=a.command == "allow")
        case "fault":
            lines = [] if a.fault == ["none"] else a.fault
            paths.fault_file(a.node).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return 0


def _describe(report: dict[str, object]) -> str:
    lines = [f"{key:16} {_words(value)}" for key, value in report.items() if value is not None]
    return "\n".join(lines)


def _words(value: object) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key}={_words(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list):
        return " ".join(str(item) for item in value) or "-"
    return {True: "yes", False: "NO"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lab", description="A real Slurm cluster with simulated sensors on this machine."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    releases = argparse.ArgumentParser(add_help=False)
    releases.add_argument(
        "--slurm",
        choices=tuple(container.SUITES),
        help="the lab of this release of Slurm; where the distribution has another one, in a container",
    )

    def add(name: str, help: str, description: str | None = None) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help, description=description, parents=[releases])

    up = add("up", help="bring the lab up, or repair it; needs root")
    up.add_argument("--install", action="store_true", help="install the project for the lab's users too")
    up.add_argument(
        "--proctrack",
        choices=slurm.PROCTRACKS,
        help="how slurmd follows a job's processes; cgroup is what sites use, and signals go elsewhere with it "
        "(default: as the lab that is there, else linuxproc)",
    )
    up.add_argument(
        "--cgroup",
        choices=("v1", "v2"),
        help="proctrack/cgroup with control groups of this version (default in a container: v1)",
    )
    add("down", help="end it and leave nothing behind")
    status = add("status", help="what runs; exit code 1 where something doesn't")
    status.add_argument("--json", action="store_true")
    add("install", help="(re)install the project for the lab's users")
    execute = add("exec", help="run a command on the login node or on a node")
    execute.add_argument("--user", default="root")
    execute.add_argument("--node", choices=hardware.NODES)
    execute.add_argument("--cwd", help="default: the user's home")
    execute.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD...")
    inside = add("inside", help="run a command in the container of --slurm, as root, here and with this environment")
    inside.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD...")
    true = add("truth", help="true energy of a node in an interval, as JSON in microjoules")
    true.add_argument("node", choices=hardware.NODES)
    true.add_argument("t0", metavar="T0", help="seconds, with up to nine decimals")
    true.add_argument("t1", metavar="T1")
    true.add_argument("--clock", choices=("wall", "boottime"), default="wall")
    true.add_argument("--json", action="store_true", help="the only form there is")
    for name, text in (
        ("deny", "let only root read a node's counters"),
        ("allow", "let everybody read them"),
    ):
        add(name, help=text).add_argument("node", choices=hardware.NODES)
    fault = add("fault", help="make a node's NVML fail", description=f"Faults: {FAULTS}.")
    fault.add_argument("node", choices=hardware.NODES)
    fault.add_argument("fault", nargs="+", help=FAULTS)
    return parser
