"""Where the control API listens: option > environment > config file > default, for each value."""

from pathlib import Path

import pytest

from masterjob.config.documents import read_document
from masterjob.errors import SettingError
from masterjob.web.config import CONTROL_API_SECTION, AuthMode, ListenConfig, resolve_listen_config


def test_by_default_it_is_port_3000_for_this_machine_alone() -> None:
    assert resolve_listen_config({}, {}) == ListenConfig("127.0.0.1", 3000, AuthMode.LOOPBACK)
    assert ListenConfig().probe_port is None


def test_each_value_comes_from_the_highest_level_that_has_it() -> None:
    environ = {"MASTERJOB_LISTEN_PORT": "3001", "MASTERJOB_LISTEN_HOST": "127.0.0.2"}
    section = {"port": 3002, "host": "127.0.0.3", "probePort": 9000}
    config = resolve_listen_config({"port": 3003, "host": None}, environ, section)
    assert (config.port, config.host, config.probe_port) == (3003, "127.0.0.2", 9000)


def test_the_variable_that_a_cluster_sets_for_a_service_of_this_name_is_ignored() -> None:
    assert resolve_listen_config({}, {"MASTERJOB_PORT": "tcp://10.0.0.1:3000", "PORT": "8080"}).port == 3000


@pytest.mark.parametrize("value", ["off", "OFF", False, "none"])
def test_it_may_be_off(value: object) -> None:
    assert resolve_listen_config({}, {}, {"port": value}).port is None


def test_white_space_around_a_port_in_quotes_does_not_matter() -> None:
    config = resolve_listen_config({"probe_port": "9000 "}, {}, {"port": " 3001"})
    assert (config.port, config.probe_port) == (3001, 9000)


@pytest.mark.parametrize("value", [70000, -1, "x", True, 3.5, ""])
def test_an_invalid_port_is_an_error_that_names_its_origin(value: object) -> None:
    with pytest.raises(SettingError, match=r"controlApi\.port must be a port from 0 to 65535 or off, not "):
        resolve_listen_config({}, {}, {"port": value})


def test_a_mistake_in_the_file_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("controlApi:\n  prot: 3000\n")
    document = read_document(path)
    with pytest.raises(SettingError, match=r"config.yaml line 2: controlApi.prot is not known: did you mean port"):
        resolve_listen_config({}, {}, {"prot": 3000}, document.field_locator(CONTROL_API_SECTION))


def test_an_invalid_option_is_an_error_with_its_name() -> None:
    with pytest.raises(
        SettingError, match="argument auth must be loopback, token, kubernetes or none, not 'magic'"
    ):
        resolve_listen_config({"auth": "magic"}, {})


def test_names_may_be_a_list_or_text_with_commas() -> None:
    assert resolve_listen_config({}, {"MASTERJOB_LISTEN_ALLOWED_HOSTS": "A.example, b.example"}).allowed_hosts == (
        "a.example",
        "b.example",
    )
    assert resolve_listen_config({}, {}, {"allowedHosts": ["x"]}).allowed_hosts == ("x",)
    with pytest.raises(SettingError, match="must be a list such as"):
        resolve_listen_config({}, {}, {"allowedHosts": 5})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"auth": AuthMode.TOKEN}, "belong together"),
        ({"tokens": Path("t.yaml")}, "belong together"),
        ({"tls_cert": Path("c.pem")}, "both a certificate and its key"),
        ({"host": "0.0.0.0"}, "can be reached by others"),
        ({"host": "example.org"}, "can be reached by others"),
    ],
)
def test_contradictory_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        ListenConfig(**values)  # type: ignore[arg-type]  # invalid on purpose


def test_probes_alone_need_no_auth_mode() -> None:
    assert ListenConfig(host="0.0.0.0", port=None, probe_port=9000).probe_port == 9000
