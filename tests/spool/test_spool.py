"""Names and places of run directories, and reading back what may be torn, foreign or garbage."""

from __future__ import annotations

import json
import os
import stat
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

FAKES = str(Path(__file__).resolve().parents[1] / "fakes")
if FAKES not in sys.path:
    sys.path.insert(0, FAKES)

from fake_spool import BOOT_NS, PACKAGE, START, START_NS, FakeSpool, read  # noqa: E402

from hpcfrugal.core.record import codec  # noqa: E402
from hpcfrugal.core.safe_read import MAX_DOCUMENT_BYTES, UnsafeFile  # noqa: E402
from hpcfrugal.core.user import owner_name, user_name  # noqa: E402
from hpcfrugal.sidecar.sampling_rate import FILE_LIMIT_B  # noqa: E402
from hpcfrugal.spool import (  # noqa: E402
    JobKey,
    ParsedName,
    RunDir,
    decode_node,
    encode_node,
    is_run_id,
    iter_runs,
    new_run_id,
    parse_name,
    read_json,
    write_json_atomic,
)
from hpcfrugal.spool.documents import NodeFacts, read_end, read_log, read_run, read_slurm, read_submitted  # noqa: E402

JOB = JobKey("17", 0)
UID = os.getuid()


@pytest.fixture
def spool(tmp_path: Path) -> FakeSpool:
    return FakeSpool(tmp_path)


def test_run_id_is_utc_and_depends_on_its_entropy() -> None:
    now = datetime(2026, 11, 21, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    run_id = new_run_id(now, "a")
    assert run_id.startswith("20261120T230203Z-")
    assert is_run_id(run_id)
    assert run_id == new_run_id(now, "a") != new_run_id(now, "b")


def test_run_id_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="aware"):
        new_run_id(datetime(2026, 1, 1), "a")


@pytest.mark.parametrize("text", ["", "20261120T230203Z-ABCDEF12", "../../etc", "20261120T230203Z-abcdef12\n", "x"])
def test_other_texts_are_not_run_ids(text: str) -> None:
    assert not is_run_id(text)


def test_create_makes_private_directories_once(tmp_path: Path) -> None:
    run_id = new_run_id(START, "a")
    run = RunDir.create(tmp_path / "new" / "spool", run_id)
    assert run.path == tmp_path / "new" / "spool" / "2026-11" / run_id
    assert RunDir.of(tmp_path / "new" / "spool", run_id) == run
    for folder in (run.path, run.path.parent, run.path.parent.parent, tmp_path / "new"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with pytest.raises(FileExistsError):
        RunDir.create(tmp_path / "new" / "spool", run_id)


@pytest.mark.parametrize("run_id", ["../x", "x", ""])
def test_create_refuses_other_names(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(ValueError, match="run id"):
        RunDir.create(tmp_path, run_id)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("run.json", ParsedName("run")),
        ("submitted.json", ParsedName("submitted")),
        ("17.0.n1.jsonl", ParsedName("samples", JobKey("17", 0), "n1")),
        ("17.2.n1.cluster.example.jsonl", ParsedName("samples", JobKey("17", 2), "n1.cluster.example")),
        ("17.0.end.json", ParsedName("end", JobKey("17", 0))),
        ("17.0.end.json.jsonl", ParsedName("samples", JobKey("17", 0), "end.json")),
        ("17.3.slurm.json", ParsedName("slurm", JobKey("17", 3))),
        (
            "20261120T230203Z-abcdef12.0.pc.jsonl",
            ParsedName("samples", JobKey("20261120T230203Z-abcdef12", 0), "pc"),
        ),
        ("17.00.n1.jsonl", None),
        ("17.-1.n1.jsonl", None),
        ("17.0..jsonl", None),
        ("17.0.jsonl", None),
        ("17.0.n1.json", None),
        ("slurm-17.out", None),
        ("１７.0.n1.jsonl", None),
    ],
)
def test_names_say_what_they_are(name: str, parsed: ParsedName | None) -> None:
    assert parse_name(name) == parsed


@given(node=st.text(min_size=1, max_size=60), job_id=st.from_regex(r"[A-Za-z0-9_+-]{1,64}", fullmatch=True))
def test_any_node_name_comes_back_from_its_file_name(node: str, job_id: str) -> None:
    node = node.encode("utf-8", "replace").decode()
    try:
        path = RunDir("/spool/run").samples(job_id, 3, node)
    except ValueError:
        assert len(encode_node(node)) + len(job_id) + 9 > 255
        return
    assert path.parent == Path("/spool/run")
    assert parse_name(path.name) == ParsedName("samples", JobKey(job_id, 3), node)
    assert decode_node(encode_node(node)) == node


@pytest.mark.parametrize("job_id", ["", "1.2", "../1", "1/2", "a b", "1\n"])
def test_a_job_id_that_is_not_a_file_name_is_refused(job_id: str) -> None:
    run = RunDir("/spool/run")
    for name in (run.end_json, run.slurm_json):
        with pytest.raises(ValueError, match="job id"):
            name(job_id, 0)


def test_a_restart_has_nine_digits_at_most() -> None:
    run = RunDir("/spool/run")
    assert run.end_json("17", 999_999_999).name == "17.999999999.end.json"
    with pytest.raises(ValueError, match=r"^not a restart count: 1000000000$"):
        run.end_json("17", 1_000_000_000)


def test_the_last_8_kib_of_a_log_are_read(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.log"
    path.write_text("failed" + "\n" * 8186)
    assert read_log(path, UID)[0] == "failed"
    path.write_text("failed" + "\n" * 8192)
    assert read_log(path, UID)[0] is None
    path.write_text("x" * 400)
    assert read_log(path, UID)[0] == "x" * 299 + "…"


def test_power_of_a_node_is_a_megawatt_at_most() -> None:
    problems: list[str] = []
    document = {"node": "n1", "idle_power_uw": {"cpu": 10**12}, "tdp_uw": 10**12}
    facts = codec(NodeFacts).read(document, problems)
    assert (facts.idle_power_uw, facts.tdp_uw, problems) == ((("cpu", 10**12),), 10**12, [])
    document = {"node": "n1", "idle_power_uw": {"cpu": 10**12 + 1}, "tdp_uw": 10**12 + 1}
    facts = codec(NodeFacts).read(document, problems)
    assert (facts.idle_power_uw, facts.tdp_uw, len(problems)) == ((), None, 2)


def test_jobs_are_found_and_ordered_by_number(spool: FakeSpool) -> None:
    run = spool.run("9")
    for job_id, restart in (("10", 0), ("9", 1), ("9", 0)):
        run.samples([], job_id, restart)
    run.end(job_id="100")
    assert run.run_dir.jobs() == [JobKey("9", 0), JobKey("9", 1), JobKey("10", 0), JobKey("100", 0)]


def test_write_json_is_private_whole_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json_atomic(path, {"name": "ä\ud800", "n": 1})
    write_json_atomic(path, {"n": 2})
    assert json.loads(path.read_text()) == {"n": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_atomic(path, {"n": float("nan")})
    with pytest.raises(TypeError):
        write_json_atomic(path, {"n": object()})
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert json.loads(path.read_text()) == {"n": 2}


def test_a_failed_rename_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_json_atomic(tmp_path / "a.json", {})
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "data", [None, b"", b'{"a": 1', b"[1]", b"\xff{}", b'{"a": NaN}', b"[" * 100_000], ids=lambda data: repr(data)[:9]
)
def test_an_unusable_document_is_ignored(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "a.json"
    if data is not None:
        path.write_bytes(data)
    assert read_json(path) is None
    assert read_json(tmp_path) is None
    write_json_atomic(path, {"name": "\ud800"})
    assert read_json(path) == {"name": "\ud800"}


def test_iter_runs_is_sorted_and_follows_no_link(spool: FakeSpool, tmp_path: Path) -> None:
    runs = sorted(spool.run(None).run_dir.path for _ in range(3))
    month = spool.root / "2026-11"
    (month / "20261121T100000Z-00000000").symlink_to(runs[0])
    (month / "notes.txt").write_text("x")
    (spool.root / "2026-13").mkdir()
    (spool.root / "2026-12").symlink_to(month)
    skipped: list[tuple[str, str]] = []
    found = list(iter_runs(spool.root, lambda path, reason: skipped.append((path.name, reason))))
    assert [run.path for run in found] == runs
    assert {name for name, _ in skipped} == {"20261121T100000Z-00000000", "notes.txt", "2026-13", "2026-12"}
    assert ("2026-12", "a symbolic link, not followed") in skipped
    assert list(iter_runs(tmp_path / "nowhere")) == []


def test_documents_come_back(spool: FakeSpool) -> None:
    run = spool.whole_run()
    document, _, problems = read_run(run.run_dir.run_json, UID)
    assert (document.name, document.user, document.tags) == (
        "train",
        "alice",
        {"project": "climate", "phase": "training"},
    )
    assert document.created_wall_ns == START_NS - 10 * 10**9
    assert problems == []
    submitted, _, _ = read_submitted(run.run_dir.submitted_json, UID)
    assert (submitted.cluster, submitted.job_id) == ("lab", "17")
    end, _, _ = read_end(run.run_dir.end_json("17", 0), UID, JOB)
    assert (end.exit_code, end.started_wall_ns, end.ended_wall_ns) == (0, START_NS, START_NS + 60 * 10**9)
    slurm, _, _ = read_slurm(run.run_dir.slurm_json("17", 0), UID, JOB)
    assert (slurm.state, slurm.final, slurm.nodes, slurm.start_wall_ns) == ("COMPLETED", True, ("n1",), START_NS)


def test_a_bad_field_is_none_and_named(spool: FakeSpool) -> None:
    run = spool.run(created_at="yesterday", user=7, spec={"name": "a\ud800", "tags": {"x": [1], "n": 3, "b": True}})
    document, _, problems = read_run(run.run_dir.run_json, UID)
    assert document.created_wall_ns is None
    assert document.user is None
    assert document.name == "a?"
    assert document.tags == {"n": "3", "b": "true"}
    assert sorted(problems) == [
        "created_at: not an ISO 8601 time with its offset from UTC",
        "user: not a text",
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("17.0.%6E1.jsonl", "17.0.n%2f.jsonl", "17.0.n~.jsonl", "17.0.n%.jsonl", "17.0.\u00fc.jsonl"),
        *("17.0.n\udcff.jsonl", "17.0..jsonl", "17.0.%6E1.m.meter", "17.0.n\udcff.m.meter", "17.0.%41.meter"),
    ],
)
def test_a_file_name_in_another_spelling_is_ignored(name: str) -> None:
    assert parse_name(name) is None


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "end.json"
    os.mkfifo(path)
    assert read_json(path) is None
    path.unlink()
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}


def test_what_is_read_of_a_job_is_its_owners_own_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_text('{"a": 1}')
    path = tmp_path / "run" / "end.json"
    path.parent.mkdir()
    for target in (tmp_path / "other", "/dev/zero"):
        path.symlink_to(target)
        assert read_json(path) is None
        path.unlink()
    path.write_text(" " * MAX_DOCUMENT_BYTES + '{"a": 1}')
    assert read_json(path) is None
    if UID == 0:
        path.write_text('{"a": 1}')
        os.chown(path, 12345, -1)
        assert read_json(path) is None


@pytest.mark.parametrize(
    ("said", "problems"),
    [
        (user_name(), []),
        (str(UID), []),
        (None, []),
        ("alice'; --", [f'user: is "alice\'; --", but uid {UID} is {user_name()}']),
        (["own"], ["user: not a text"]),
    ],
)
def test_a_run_belongs_to_the_owner_of_its_directory(
    spool: FakeSpool, monkeypatch: pytest.MonkeyPatch, said: Any, problems: list[str]
) -> None:
    monkeypatch.setattr("hpcfrugal.spool.documents.owner_name", owner_name)
    document, _, found = read_run(spool.run(user=said).run_dir.run_json, UID)
    assert (document.user, found) == (user_name(), problems)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 2}, "schema 2"),
        ({"schema": True}, "schema True"),
        ({"uid": UID + 1}, "uid"),
        ({"uid": None}, "uid"),
        ({"run_id": "other"}, "another run"),
    ],
)
def test_a_run_document_that_does_not_count(spool: FakeSpool, change: dict[str, Any], reason: str) -> None:
    run = spool.run(**change)
    with pytest.raises(UnsafeFile, match=reason):
        read_run(run.run_dir.run_json, UID)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"schema": NaN}', b"\xff", b"[" * 100_000, b"1" * 9999])
def test_a_garbage_document_is_refused(spool: FakeSpool, data: bytes) -> None:
    run = spool.run(None)
    run.run_dir.submitted_json.write_bytes(data)
    with pytest.raises(UnsafeFile):
        read_submitted(run.run_dir.submitted_json, UID)


def test_links_pipes_and_foreign_files_are_refused(spool: FakeSpool, tmp_path: Path) -> None:
    run = spool.run()
    other = tmp_path / "other.json"
    other.write_text(run.run_dir.submitted_json.read_text())
    run.run_dir.submitted_json.unlink()
    with pytest.raises(UnsafeFile, match="No such file"):
        read_submitted(run.run_dir.submitted_json, UID)
    run.run_dir.submitted_json.symlink_to(other)
    with pytest.raises(UnsafeFile, match="symbolic link"):
        read_submitted(run.run_dir.submitted_json, UID)
    run.run_dir.submitted_json.unlink()
    os.mkfifo(run.run_dir.submitted_json)
    with pytest.raises(UnsafeFile, match="regular"):
        read_submitted(run.run_dir.submitted_json, UID)
    with pytest.raises(UnsafeFile, match=f"belongs to uid {UID}"):
        read_run(run.run_dir.run_json, UID + 1)


def test_samples_come_back(spool: FakeSpool) -> None:
    run = spool.run()
    found = read(run.samples([run.header(), *run.records([100, 10], 60)]))
    assert found.problems == ()
    assert found.size == found.state.size
    (session,) = found.sessions
    assert session.end_reason == "stopped"
    assert len(session) == 7
    assert [energies_uj[-1] for energies_uj in session.energy_uj] == [6_000_000_000, 600_000_000]
    assert session.header.channels[0].source == "rapl-powercap"
    assert session.header.memory_alloc_b == 8 * 10**9


def test_every_torn_end_keeps_all_whole_lines(spool: FakeSpool) -> None:
    run = spool.run()
    path = run.samples([run.header(), *run.records([100, 10], 20)])
    data = path.read_bytes()
    ends = [position for position, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(0, len(data) + 1, 7):
        path.write_bytes(data[:cut])
        found = read(path)
        whole = sum(end < cut for end in ends)
        records = sum(len(session) for session in found.sessions)
        assert found.problems == ()
        assert len(found.sessions) + records == whole
        assert (found.size < found.state.size) == (cut > 0 and data[cut - 1 : cut] != b"\n")


def test_a_second_header_starts_a_session_even_behind_a_torn_line(spool: FakeSpool) -> None:
    run = spool.run()
    path = run.samples([run.header(), *run.records([100, 10], 20)[:-1]])
    with path.open("ab") as file:
        file.write(b'{"kind":"record","boottime_ns":50')
    run.samples([run.header(boottime_ns=BOOT_NS + 40 * 10**9), run.record(50, [0, 0])], mode="a")
    found = read(path)
    assert [len(session) for session in found.sessions] == [2, 1]
    assert found.problems == ("1 line: torn, another line follows on it",)


def test_every_bad_line_is_counted_with_its_reason(spool: FakeSpool) -> None:
    run = spool.run()
    good = run.records([100, 10], 60)
    path = run.samples(
        [
            run.record(0, [0, 0]),
            run.header(),
            good[0],
            run.record(10, [1]),
            run.record(10, [1.5, 0]),  # type: ignore[list-item]
            run.record(10, [-1, 0]),
            run.record(10, [2**63, 0]),
            run.record(10, [True, 0]),
            run.record(10, [2 * 10**14, 0]),
            run.record(10, [0, 0], measured_ns=[None, 0]),
            run.record(10, [0, 0], job_cpu_us="1"),
            run.record(10, [0, 0], boottime_ns=BOOT_NS - 1),
            run.record(10, [0, 0], boottime_ns=BOOT_NS + 500 * 86400 * 10**9),
            good[2],
            good[1],
            {"kind": "surprise"},
            run.header(job_id="18"),
            good[3],
        ]
    )
    with path.open("ab") as file:
        file.write(b"\x00\xff garbage\n[]\n\n" + b"[" * 100_000 + b"\n" + b"9" * 10_000 + b"\n")
    run.samples([run.header(schema=9), good[3], run.header(node=None), good[3]], mode="a")
    found = read(path)
    assert [len(session) for session in found.sessions] == [2]
    counts: dict[str, int] = {}
    for problem in found.problems:
        number, _, reason = problem.partition(": ")
        counts[reason] = int(number.split()[0])
    assert counts == {
        "no valid header before it": 4,
        "record field energy_uj: not a list of 2 integers from 0 to 4611686018427387904 or null": 4,
        "record field errors: not a list of 2 integers from 0 to 1099511627776": 1,
        "record field measured_ns: not a list of 2 integers from 0 to 4611686018427387904": 1,
        "record field job_cpu_us: not an integer from 0 to 4611686018427387904": 1,
        "record before its header or a year after it": 2,
        "record of more energy than there can be": 1,
        "record runs backwards": 1,
        "unknown kind surprise": 1,
        "header of job 18 restart 0": 1,
        "header of schema 9, this program reads 1": 1,
        "header: node: missing": 1,
        "not valid JSON": 3,
        "not a JSON object": 1,
    }


def test_a_line_too_long_is_one_bad_line(spool: FakeSpool) -> None:
    run = spool.run()
    path = run.samples([run.header()])
    with path.open("ab") as file:
        file.write(b"x" * (9 * 1024 * 1024) + b"\n")
    run.samples(run.records([100, 10], 20), mode="a")
    found = read(path)
    assert found.problems == ("1 line: not valid JSON",)
    assert len(found.sessions[0]) == 3


@given(data=st.binary(max_size=400))
def test_no_bytes_make_the_reader_fail(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "17.0.n1.jsonl"
    path.write_bytes(data)
    found = read(path)
    assert found.sessions == ()
    assert found.state.size == len(data)


@pytest.mark.parametrize(
    "channel",
    [
        {},
        {**PACKAGE, "component": "fridge"},
        {**PACKAGE, "scope": "rack"},
        {**PACKAGE, "quality": "guessed"},
        {**PACKAGE, "counted": "yes"},
        {**PACKAGE, "source": None},
    ],
)
def test_a_header_with_an_unknown_channel_is_refused(spool: FakeSpool, channel: dict[str, Any]) -> None:
    run = spool.run()
    found = read(run.samples([run.header(channels=[channel]), run.record(0, [0])]))
    assert found.sessions == ()
    assert len(found.problems) == 2


def test_the_state_is_of_the_content_that_was_read(spool: FakeSpool) -> None:
    run = spool.run()
    path = run.samples([run.header(), *run.records([100, 10], 60)])
    status = path.stat()
    state = read(path).state
    assert (state.size, state.mtime_ns, state.inode) == (status.st_size, status.st_mtime_ns, status.st_ino)


def test_times_are_aware(spool: FakeSpool) -> None:
    run = spool.run(created_at="2026-11-21T10:00:00")
    document, _, problems = read_run(run.run_dir.run_json, UID)
    assert document.created_wall_ns is None
    assert len(problems) == 1
    run.document(created_at=datetime(2026, 11, 21, 10, tzinfo=UTC).isoformat())
    assert read_run(run.run_dir.run_json, UID)[0].created_wall_ns == START_NS


def test_a_month_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "2026-11").symlink_to(tmp_path / "elsewhere")
    when = datetime(2026, 11, 21, tzinfo=UTC)
    with pytest.raises(PermissionError, match="is a symbolic link"):
        RunDir.create(tmp_path, new_run_id(when, "x"))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_sample_file_larger_than_any_sidecar_writes_is_refused_unread(spool: FakeSpool) -> None:
    run = spool.run()
    path = run.samples([run.header(), *run.records([100, 10], 60)])
    os.truncate(path, 100_663_296)
    assert len(read(path).sessions[0]) == 7
    os.truncate(path, 100_663_297)
    with pytest.raises(UnsafeFile, match=r"^larger than 100663296 bytes, which no sidecar writes$"):
        read(path)
    assert FILE_LIMIT_B == 67_108_864
