"""Run directories on disk: who names the files, who writes them whole, who reads them back with care.

``layout`` owns every file name, ``documents`` reads the small
JSON files and ``samples`` the sidecar's JSON lines. Only the names that a submission needs are imported here, so
that ``submit`` stays light.
"""

from __future__ import annotations

from hpcfrugal.core.files import write_atomic, write_json_atomic
from hpcfrugal.core.safe_read import read_json
from hpcfrugal.spool.layout import (
    SPOOL_SCHEMA,
    JobKey,
    ParsedName,
    RunDir,
    decode_node,
    encode_node,
    is_run_id,
    iter_runs,
    mark_changed,
    new_run_id,
    parse_name,
)

__all__ = [
    "SPOOL_SCHEMA",
    "JobKey",
    "ParsedName",
    "RunDir",
    "decode_node",
    "encode_node",
    "is_run_id",
    "iter_runs",
    "mark_changed",
    "new_run_id",
    "parse_name",
    "read_json",
    "write_atomic",
    "write_json_atomic",
]
