"""Where to listen: for each value by itself option > environment > config file > default."""

from pathlib import Path

import pytest

from masterjob.documents import read_one
from masterjob.election.errors import SettingError
from masterjob.web.options import SECTION, Auth, Listening, listening


def test_by_default_it_is_port_3000_for_this_machine_alone() -> None:
    assert listening({}, {}) == Listening("127.0.0.1", 3000, Auth.LOOPBACK)
    assert Listening().probe_port is None


def test_each_value_comes_from_the_highest_level_that_has_it() -> None:
    environ = {"MASTERJOB_LISTEN_PORT": "3001", "MASTERJOB_LISTEN_HOST": "127.0.0.2"}
    section = {"port": 3002, "host": "127.0.0.3", "probePort": 9000}
    found = listening({"port": 3003, "host": None}, environ, section)
    assert (found.port, found.host, found.probe_port) == (3003, "127.0.0.2", 9000)


def test_what_a_cluster_sets_for_a_service_of_our_name_is_not_taken_for_an_option() -> None:
    assert listening({}, {"MASTERJOB_PORT": "tcp://10.0.0.1:3000", "PORT": "8080"}).port == 3000


@pytest.mark.parametrize("value", ["off", "OFF", False, "none"])
def test_it_may_be_off(value: object) -> None:
    assert listening({}, {}, {"port": value}).port is None


@pytest.mark.parametrize("value", [70000, -1, "x", True, 3.5, ""])
def test_a_port_that_is_none_is_told_with_where_it_was_written(value: object) -> None:
    with pytest.raises(SettingError, match=r"controlApi\.port: .* is no port"):
        listening({}, {}, {"port": value})


def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("controlApi:\n  prot: 3000\n")
    document = read_one(path)
    with pytest.raises(SettingError, match=r"config.yaml line 2: controlApi.prot is not known: is port meant"):
        listening({}, {}, {"prot": 3000}, document.below(SECTION))


def test_an_option_that_is_wrong_is_told_by_its_name() -> None:
    with pytest.raises(SettingError, match="argument auth: 'magic' must be loopback, token, kubernetes, none"):
        listening({"auth": "magic"}, {})


def test_names_may_be_a_list_or_text_with_commas() -> None:
    assert listening({}, {"MASTERJOB_LISTEN_ALLOWED_HOSTS": "A.example, b.example"}).allowed_hosts == (
        "a.example",
        "b.example",
    )
    assert listening({}, {}, {"allowedHosts": ["x"]}).allowed_hosts == ("x",)
    with pytest.raises(SettingError, match="a list of names"):
        listening({}, {}, {"allowedHosts": 5})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"auth": Auth.TOKEN}, "belong together"),
        ({"tokens": Path("t.yaml")}, "belong together"),
        ({"tls_cert": Path("c.pem")}, "both a certificate and its key"),
        ({"host": "0.0.0.0"}, "can be reached by others"),
        ({"host": "example.org"}, "can be reached by others"),
    ],
)
def test_what_does_not_fit_together_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Listening(**values)  # type: ignore[arg-type]  # that is what is tried


def test_probes_alone_need_nobody_to_say_who_may() -> None:
    assert Listening(host="0.0.0.0", port=None, probe_port=9000).probe_port == 9000
