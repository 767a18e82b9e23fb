"""Settings: which source wins, and the messages about mistakes."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

import hpcfrugal.core.directories
import hpcfrugal.settings.config
from hpcfrugal.core.errors import InputError, SetupError
from hpcfrugal.core.pue import MonthlyPue
from hpcfrugal.settings.config import load_config, read_config, settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hpcfrugal.settings.config, "SITE_DIR", tmp_path / "etc")
    (tmp_path / "etc").mkdir()
    (tmp_path / ".config/hpcfrugal").mkdir(parents=True)
    return tmp_path


def write(home: Path, *, user: str = "", site: str = "") -> dict[str, str]:
    (home / ".config/hpcfrugal/config.toml").write_text(user)
    (home / "etc/config.toml").write_text(site)
    return {"HOME": str(home)}


def test_defaults_lie_in_the_home(home: Path) -> None:
    config = load_config({"HOME": str(home)})
    assert config.spool == home / ".local/share/hpcfrugal/spool"
    assert config.ledger == home / ".local/share/hpcfrugal/ledger.db"
    assert config.backend == "auto"
    assert {str(config.origin(*keys)) for keys, _ in settings()} == {"default"}


def test_nearest_source_wins(home: Path) -> None:
    environ = write(
        home, site='spool = "/site"\nbackend = "local"\nledger = "/l"\n', user='spool = "/user"\nledger="/m"'
    )
    config = load_config({**environ, "HPCFRUGAL_LEDGER": "/n/ledger.db"})
    assert (config.spool, config.backend, config.ledger) == (Path("/user"), "local", Path("/n/ledger.db"))
    assert str(config.origin("ledger")) == "HPCFRUGAL_LEDGER"
    assert str(config.origin("spool")).endswith(".config/hpcfrugal/config.toml:1: spool")
    assert str(config.origin("backend")).endswith("etc/config.toml:2: backend")


def test_variables_in_a_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOR_A_TEST", "me")
    monkeypatch.delenv("NOT_SET", raising=False)
    assert load_config(write(home, user='spool = "/scratch/${FOR_A_TEST}/$FOR_A_TEST"')).spool == Path("/scratch/me/me")
    with pytest.raises(InputError, match=r"config.toml:1: spool: names a variable that is not set: \$\{NOT_SET\}$"):
        load_config(write(home, user='spool = "/scratch/$FOR_A_TEST/${NOT_SET}"'))


def test_xdg_directories(home: Path) -> None:
    environ = {"HOME": str(home), "XDG_DATA_HOME": "/data", "XDG_CACHE_HOME": "not/absolute"}
    assert load_config(environ).spool == Path("/data/hpcfrugal/spool")
    assert hpcfrugal.core.directories.cache_dir(environ) == home / ".cache/hpcfrugal"


def test_all_mistakes_at_once(home: Path) -> None:
    environ = write(home, user='spol = "/x"\nledger = 3\n[sidecar]\npython = []\n', site="spool = [")
    with pytest.raises(InputError) as caught:
        load_config({**environ, "HPCFRUGAL_BACKEND": "pbs"})
    text = caught.value.message
    assert "config.toml:1: spol: is not a setting of hpcfrugal" in text
    assert "did you mean spool?" in text
    assert "config.toml:2: ledger: needs a path" in text
    assert "config.toml:4: sidecar.python: needs a list" in text
    assert "etc/config.toml:1: is not valid TOML" in text
    assert "HPCFRUGAL_BACKEND: needs one of auto, slurm_cli, local" in text


def test_mistakes_are_in_the_order_of_the_lines(home: Path) -> None:
    environ = write(home, user='spol = "/x"\n[carbon]\npue = 0\nzon = "FR"\nzone = "a b"\n[site]\nspool = 1\n')
    _, problems = read_config(environ)
    assert [problem.where.rpartition(":")[0][-1] for problem in problems] == ["1", "3", "4", "5", "7"]


def test_what_is_right_stays_in_force_beside_mistakes(home: Path) -> None:
    environ = write(home, user='[carbon]\nzone = "DE"\npue = 0.5\n', site="[carbon]\npue = 1.3\n")
    config, problems = read_config(environ)
    assert [str(problem) for problem in problems] == [
        f"{home}/.config/hpcfrugal/config.toml:3: carbon.pue: needs a number from 1 to 10"
    ]
    assert (config.carbon.zone, config.carbon.pue) == ("DE", 1.3)
    assert str(config.origin("carbon", "pue")) == f"{home}/etc/config.toml:2: carbon.pue"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sidecr]\npython = []\n", ":1: sidecr: is not a setting of hpcfrugal (did you mean sidecar?)"),
        ("[carbon]\n\nzon = 1\n", ":3: carbon.zon: is not a setting of [carbon] (did you mean zone?)"),
        ("carbon = 3\n", ":1: carbon: needs a table of keys"),
        ("forecast.x.kind = 'file'\n", ":1: forecast: is not a setting of hpcfrugal (did you mean forecasts?)"),
    ],
)
def test_a_key_that_is_unknown(home: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(write(home, user=text))
    assert caught.value.message == f"{home}/.config/hpcfrugal/config.toml{message}"


def test_the_pue_is_a_number_of_at_least_one(home: Path) -> None:
    environ = write(home, site="[carbon]\npue = 1.2\n")
    assert load_config({"HOME": str(home / "nobody")}).carbon.pue == 1.2
    assert load_config({**environ, "HPCFRUGAL_PUE": "1"}).carbon.pue == 1.0
    for wrong in ("0.9", "nan", "inf", "a lot", "-1"):
        with pytest.raises(InputError, match="HPCFRUGAL_PUE: needs a number from 1 to 10"):
            load_config({**environ, "HPCFRUGAL_PUE": wrong})
    write(home, user="[carbon]\npue = true\n")
    with pytest.raises(InputError, match=r"carbon\.pue: needs a number"):
        load_config(environ)


def test_the_pue_by_month(home: Path) -> None:
    environ = write(home, site="[carbon.pue]\n2026-11 = 1.2\n2026-10 = 1.3\n")
    config = load_config(environ)
    assert config.carbon.pue == MonthlyPue((("2026-10", 1.3), ("2026-11", 1.2)))
    assert config.carbon.constant_pue is None, "it is not stored with a run"
    assert str(config.origin("carbon", "pue")) == f"{home}/etc/config.toml:1: carbon.pue"
    assert load_config({**environ, "HPCFRUGAL_PUE": "1.4"}).carbon.pue == 1.4


def test_mistakes_in_the_pue_by_month_are_named_with_their_lines(home: Path) -> None:
    text = '[carbon]\nzone = "FR"\n[carbon.pue]\n2026-13 = 1.2\n2026-10 = 0.3\n2026-11 = "1.1"\n'
    config, problems = read_config(write(home, site=text))
    assert [str(problem) for problem in problems] == [
        f'{home}/etc/config.toml:4: carbon.pue.2026-13: needs a month, such as "2026-01"',
        f"{home}/etc/config.toml:5: carbon.pue.2026-10: needs a number from 1 to 10",
        f"{home}/etc/config.toml:6: carbon.pue.2026-11: needs a number from 1 to 10",
    ]
    assert (config.carbon.zone, config.carbon.pue) == ("FR", None)
    with pytest.raises(InputError, match=r"carbon\.pue: names no month"):
        load_config(write(home, site="[carbon]\npue = {}\n"))


def test_pythons(home: Path) -> None:
    environ = write(home, site='[sidecar]\npython = ["/opt/python3", "python3"]\n')
    assert load_config(environ).sidecar.python == ("/opt/python3", "python3")
    assert load_config({**environ, "HPCFRUGAL_SIDECAR_PYTHON": "/a:/b"}).sidecar.python == ("/a", "/b")


def test_named_tables(home: Path) -> None:
    environ = write(
        home,
        site='[meters.rack]\nkind = "a"\nurl = "u"\n[meters.door]\nkind = "b"\n[nodes."n[1-4]"]\nidle_w = 90\n',
        user='[meters.rack]\nkind = "c"\n',
    )
    config = load_config(environ)
    assert {name: table.values for name, table in config.tables("meters").items()} == {
        "rack": {"kind": "c"},
        "door": {"kind": "b"},
    }
    assert str(config.tables("meters")["rack"].origin).endswith(".config/hpcfrugal/config.toml:1: meters.rack")
    assert config.tables("nodes")["n[1-4]"].values == {"idle_w": 90}
    assert config.tables("queues") == {}


def test_tables_without_a_name(home: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_config(write(home, user='meters = 3\n[queues]\npartition = "long"\n'))
    text = caught.value.message
    assert "config.toml:1: meters: needs tables with a name each, such as [meters.NAME]" in text
    assert "config.toml:2: queues: needs tables" in text


def test_an_unknown_home_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {f"XDG_{kind}_HOME": str(home / kind) for kind in ("CONFIG", "DATA")}
    assert load_config({"HOME": ""}).spool == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".local/share/hpcfrugal/spool"

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for environ in ({}, {"HOME": ""}, {"HOME": "rel"}, dict(list(places.items())[:1])):
        with pytest.raises(SetupError, match="home directory is not") as caught:
            load_config(environ)
        assert "XDG_CACHE_HOME" in (caught.value.hint or "")
    assert load_config(places).ledger == home / "DATA/hpcfrugal/ledger.db"
    monkeypatch.delenv("HOME")
    with pytest.raises(InputError, match="starts with ~, but your home directory is not known: set HOME"):
        load_config(places | {"HPCFRUGAL_SPOOL": "~/spool"})


def test_settings_that_are_not_text(home: Path) -> None:
    write(home)
    (home / ".config/hpcfrugal/config.toml").write_bytes(b'spool = "/a"\n# caf\xe9\n')
    with pytest.raises(InputError) as caught:
        load_config({"HOME": str(home)})
    assert str(caught.value) == f"{home}/.config/hpcfrugal/config.toml:2: is not UTF-8 text (save the file as UTF-8)"
