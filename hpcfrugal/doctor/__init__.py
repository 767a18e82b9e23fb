"""Checks of this machine and its settings: what works, and what to do about the rest."""

from __future__ import annotations

from hpcfrugal.doctor.finding import Finding
from hpcfrugal.doctor.meters import meter_findings
from hpcfrugal.doctor.sensors import sensor_findings
from hpcfrugal.doctor.settings import settings_findings
from hpcfrugal.doctor.slurm import slurm_findings
from hpcfrugal.doctor.storage import storage_findings

__all__ = ["Finding", "meter_findings", "sensor_findings", "settings_findings", "slurm_findings", "storage_findings"]
