"""Facts about a cluster, stored in the spool: its nodes, its power saving, and how its Slurm gathers energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hpcfrugal.core.units import compress_nodelist
from hpcfrugal.settings.idle_power import IdlePower
from hpcfrugal.slurm.cluster import Cluster
from hpcfrugal.slurm.nodes import NodeHardware
from hpcfrugal.spool.cluster_documents import (
    ClusterFacts,
    NodeClass,
    SlurmSetup,
    store_cluster_document,
    stored_cluster_document,
)


def store_cluster_facts(
    spool_root: Path,
    cluster: Cluster,
    hardware: Mapping[str, NodeHardware],
    powers: Mapping[str, IdlePower],
    at_ns: int,
) -> ClusterFacts:
    """Keep what Slurm answered at a time, beside how it gathered energy before. Raises ``OSError``."""
    old = stored_cluster_document(spool_root, ClusterFacts, cluster.name)
    setups = () if old is None else old.setups
    energy, saving = cluster.energy, cluster.power_saving
    setup = SlurmSetup(at_ns, cluster.release, energy.plugin, energy.contain, energy.step_s or None)
    if not setups or replace(setup, since_wall_ns=setups[-1].since_wall_ns) != setups[-1]:
        setups = (*setups, setup)
    facts = ClusterFacts(
        cluster.name,
        setups,
        node_classes_of(hardware, powers) if hardware or old is None else old.classes,
        saving.suspend_s,
        saving.suspend_timeout_s,
        saving.resume_timeout_s,
    )
    if facts != old:
        store_cluster_document(spool_root, facts)
    return facts


def node_classes_of(hardware: Mapping[str, NodeHardware], powers: Mapping[str, IdlePower]) -> tuple[NodeClass, ...]:
    """The nodes that are alike, the largest classes first."""
    found: dict[NodeClass, list[str]] = {}
    for name, node in hardware.items():
        power = powers.get(name, IdlePower((), ""))
        idle_uw = dict(power.power_uw)
        kind = NodeClass(
            "",
            node.cpus,
            node.cores,
            node.memory_mib,
            node.gres,
            node.features,
            node.oversubscribed,
            idle_w=_watts(idle_uw.get("node")),
            tdp_w=_watts(power.tdp_uw),
            cpu_idle_w=_watts(idle_uw.get("cpu")),
            cpu=power.cpu,
            gpu=power.gpu,
        )
        found.setdefault(kind, []).append(name)
    order = sorted(found.items(), key=lambda one: (-len(one[1]), sorted(one[1])))
    return tuple(replace(kind, nodes=compress_nodelist(names)) for kind, names in order)


def _watts(power_uw: int | None) -> float | None:
    return None if power_uw is None else power_uw / 1e6
