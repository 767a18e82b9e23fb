"""Slurm's configuration, its daemons, and its accounts."""

from __future__ import annotations

import os
import socket
import subprocess

from . import hardware, paths
from .container import CGROUPS, remove_groups
from .daemons import BASE_ENV, Daemon
from .errors import LabError
from .shell import run, wait_until

CLUSTER = "lab"
PARTITIONS = ("batch", "green")
PROCTRACKS = ("linuxproc", "cgroup")
PURE_V2 = (CGROUPS / "cgroup.procs").exists()
"""Whether this machine or container has control groups of version 2 alone."""

CONTROLLER_PORT = paths.CONTAINER.get("first_port", paths.FIRST_PORT)
DATABASE_PORT, FIRST_NODE_PORT = CONTROLLER_PORT + 2, CONTROLLER_PORT + 4
ACCOUNTS = ("physics", "biology")
URGENT = "urgent"
"""A QOS whose jobs put those of other QOS back into the queue."""
MEMBERS = (("alice", "physics"), ("alice", "biology"), ("bob", "biology"))
"""Associations; the first of a user is the default account."""


def slurm_conf(proctrack: str) -> str:
    """slurm.conf of the lab."""
    host = socket.gethostname().split(".")[0]
    ports = f"[{FIRST_NODE_PORT}-{FIRST_NODE_PORT + len(hardware.NODES) - 1}]"
    cores = hardware.CPUS // hardware.SOCKETS
    nodes = f"n[1-{len(hardware.NODES)}]"
    partition_lines = "\n".join(
        f"PartitionName={name} Nodes=ALL Default={'YES' if name == PARTITIONS[0] else 'NO'} "
        "DefaultTime=00:30:00 MaxTime=UNLIMITED OverSubscribe=NO State=UP"
        for name in PARTITIONS
    )
    return f"""\
ClusterName={CLUSTER}
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={CONTROLLER_PORT}
AuthType=auth/munge
AuthInfo=socket={paths.MUNGE_SOCKET}
CredType=cred/munge
StateSaveLocation={paths.SPOOL}/ctld
SlurmdSpoolDir={paths.SPOOL}/%n
SlurmctldPidFile={paths.SPOOL}/slurmctld.pid
SlurmdPidFile={paths.SPOOL}/slurmd.%n.pid
SlurmctldLogFile={paths.LOG}/slurmctld.log
SlurmdLogFile={paths.LOG}/slurmd.%n.log
SlurmctldDebug=info
SlurmdDebug=info
LogTimeFormat=iso8601_ms
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/{proctrack}
# Several slurmds share this machine's processors, and its real size is not that of four nodes.
TaskPlugin=task/{"cgroup" if proctrack == "cgroup" and constrains_memory() else "none"}
SlurmdParameters=config_overrides
ReturnToService=2
# Memory is consumable so that AllocTRES and SLURM_MEM_PER_* say what a job really holds, as on most sites.
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
KillWait=5
MinJobAge=60
JobRequeue=1
PreemptType=preempt/qos
PreemptMode=REQUEUE
Prolog={paths.ETC}/prolog
JobAcctGatherType=jobacct_gather/{"cgroup" if proctrack == "cgroup" and constrains_memory() else "linux"}
JobAcctGatherFrequency=task=1
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePass={paths.MUNGE_SOCKET}
AccountingStoragePort={DATABASE_PORT}
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations,limits,qos
AccountingStoreFlags=job_comment
NodeName={nodes} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports} CPUs={hardware.CPUS} \
Sockets={hardware.SOCKETS} CoresPerSocket={cores} ThreadsPerCore=1 RealMemory=16000 \
Gres=gpu:{hardware.GPUS} State=UNKNOWN
{partition_lines}
"""


def gres_conf() -> str:
    """gres.conf of the lab: plain files stand for the devices."""
    last = hardware.GPUS - 1
    lines = (f"NodeName={n} Name=gpu File={paths.node_dir(n)}/dev/nvidia[0-{last}]" for n in hardware.NODES)
    return "AutoDetect=off\n" + "\n".join(lines) + "\n"


def slurmdbd_conf() -> str:
    """slurmdbd.conf of the lab. MariaDB's socket lies in a directory that only root and mysql can enter."""
    return f"""\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={DATABASE_PORT}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={paths.MUNGE_SOCKET}
PidFile={paths.SPOOL}/slurmdbd.pid
LogFile={paths.LOG}/slurmdbd.log
DebugLevel=info
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
"""


def cgroup_conf() -> str:
    """cgroup.conf of the lab; only proctrack/cgroup reads it. Jobs are not kept from CPUs, which are simulated."""
    version = "CgroupPlugin=cgroup/v2\nIgnoreSystemd=yes" if PURE_V2 else "CgroupPlugin=cgroup/v1"
    return f"{version}\nCgroupMountpoint={CGROUPS}\nConstrainRAMSpace={'yes' if constrains_memory() else 'no'}\n"


def constrains_memory() -> bool:
    """Whether control groups of jobs can have a limit of memory here."""
    if PURE_V2:
        return "memory" in (CGROUPS / "cgroup.controllers").read_text("ascii").split()
    return all(os.access(CGROUPS / name, os.W_OK) for name in ("memory", "cpuacct"))


def configuration(proctrack: str) -> dict[str, str]:
    """Text of each file in the configuration directory."""
    return {
        "slurm.conf": slurm_conf(proctrack),
        "gres.conf": gres_conf(),
        "slurmdbd.conf": slurmdbd_conf(),
        "cgroup.conf": cgroup_conf(),
        "prolog": f"#!/bin/sh\n[ ! -e {paths.PROLOG_FAILS}/$SLURM_JOB_ID ]\n",
    }


SLURMDBD = Daemon("slurmdbd", ("/usr/sbin/slurmdbd", "-D"), {"MYSQL_UNIX_PORT": str(paths.DATABASE_SOCKET)})
SLURMCTLD = Daemon("slurmctld", ("/usr/sbin/slurmctld", "-D", "-i"))
"""By -i it also comes up after it was killed in its first five minutes: Slurm 26.05 has not written the use of
associations then, and ends where it is missing."""


def slurmd(node: str) -> Daemon:
    """The slurmd of `node`, in the node's mount namespace; with cgroup v2 in a group of its own, as systemd would start
    it, and with a library before it that hides the hierarchies of version 1 that the kernel has as well."""
    argv = ("/usr/bin/nsenter", f"--mount={paths.namespace_file(node)}", "/usr/sbin/slurmd", "-D", "-N", node)
    if not PURE_V2:
        return Daemon(f"slurmd-{node}", argv)
    enter = 'mkdir -p "$0" && echo $$ >"$0/cgroup.procs" && exec "$@"'
    group = f"{CGROUPS}/system.slice/slurmd-{node}.service"
    preload = {"LD_PRELOAD": str(paths.BUILD / "cgroup2_only.so")}
    return Daemon(f"slurmd-{node}", ("/bin/sh", "-c", enter, group, *argv), preload)


def write_configuration(proctrack: str) -> None:
    """Write the files; slurmdbd insists on 0600 for its own. Raises LabError where this machine can't do it."""
    if proctrack == "cgroup" and not (PURE_V2 or os.access(CGROUPS / "freezer", os.W_OK)):
        raise LabError(f"proctrack/cgroup needs a writable {CGROUPS}/freezer (cgroup v1), or cgroup v2 alone")
    for name, text in configuration(proctrack).items():
        path = paths.ETC / name
        path.write_text(text, encoding="utf-8")
        path.chmod({"slurmdbd.conf": 0o600, "prolog": 0o755}.get(name, 0o644))


def start_database_daemon() -> None:
    """Start slurmdbd and wait until it answers."""
    SLURMDBD.start()
    wait_until(lambda: _answers(["sacctmgr", "-n", "show", "cluster"]) or _fail_early(SLURMDBD), "slurmdbd")


def start_controller() -> None:
    """Start slurmctld and wait until it answers."""
    SLURMCTLD.start()
    wait_until(lambda: _answers(["scontrol", "ping"]) or _fail_early(SLURMCTLD), "slurmctld")


def ensure_accounts() -> None:
    """Cluster, accounts and associations, where they are missing."""
    known = set(client("sacctmgr", "-nP", "show", "assoc", "format=cluster,account,user").split())
    if f"{CLUSTER}|root|root" not in known:
        client("sacctmgr", "-iQ", "add", "cluster", CLUSTER)
    for account in ACCOUNTS:
        if f"{CLUSTER}|{account}|" not in known:
            client("sacctmgr", "-iQ", "add", "account", account, f"cluster={CLUSTER}", f"description={account}")
    for user, account in MEMBERS:
        if f"{CLUSTER}|{account}|{user}" not in known:
            client("sacctmgr", "-iQ", "add", "user", user, f"account={account}", f"cluster={CLUSTER}")
    if URGENT not in client("sacctmgr", "-nP", "show", "qos", "format=name").split():
        client("sacctmgr", "-iQ", "add", "qos", URGENT, "preempt=normal", "preemptmode=requeue")
        for user, _ in MEMBERS:
            client("sacctmgr", "-iQ", "modify", "user", f"name={user}", "set", f"qos+={URGENT}", "defaultqos=normal")


def jobs_in_queue() -> int:
    """Number of jobs that wait or run; 0 where no controller answers."""
    try:
        return len(client("squeue", "-ho", "%A").split())
    except LabError:
        return 0


def remove_cgroups() -> None:
    """Take away the control groups of jobs."""
    for pattern in ("*/slurm_n*", "system.slice/*n[0-9]*"):
        for group in CGROUPS.glob(pattern):
            remove_groups(group)


def node_states() -> dict[str, str]:
    """State of each node as sinfo prints it (idle, mixed, down* ...)."""
    lines = client("sinfo", "-hN", "-p", PARTITIONS[0], "-o", "%N %T").splitlines()
    return {name: state for name, _, state in (line.partition(" ") for line in lines)}


def partitions() -> list[str]:
    """Partitions that are up, the default first."""
    lines = client("sinfo", "-ho", "%P %a").splitlines()
    return sorted({line.split()[0].rstrip("*") for line in lines if line.endswith(" up")})


def usable(state: str) -> bool:
    """Whether a node in this state can run jobs."""
    return state.rstrip("-+") in {"idle", "mixed", "allocated", "completing", "planned", "reserved"}


def client(*argv: str) -> str:
    """Output of a Slurm client program. Raises LabError."""
    return run(argv, env=BASE_ENV)


def _answers(argv: list[str]) -> bool:
    return subprocess.run(argv, env=BASE_ENV, capture_output=True, check=False).returncode == 0


def _fail_early(daemon: Daemon) -> bool:
    try:
        daemon.require()
    except LabError as error:
        log = paths.LOG / f"{daemon.name}.log"
        tail = log.read_text(encoding="utf-8", errors="replace")[-1500:] if log.exists() else ""
        raise LabError(f"{error}\n{tail}") from error
    return False
