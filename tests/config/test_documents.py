"""YAML and JSON as plain values that know where they were written."""

from pathlib import Path

import pytest

from masterjob.config.documents import Document, read_document, read_documents
from masterjob.errors import SettingError

TEXT = """\
# the jobs
jobs:
  tick:
    exec:
      command: [sh, -c, "true"]
  "a b": {python: {entry: "x:y"}}
"""


def write_file(folder: Path, text: str | bytes, name: str = "config.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def load_document(folder: Path, text: str | bytes) -> Document:
    return read_document(write_file(folder, text), "config.yaml")


def error_of(folder: Path, text: str | bytes) -> str:
    with pytest.raises(SettingError) as caught:
        _ = load_document(folder, text).data
    return str(caught.value)


def test_a_field_is_named_with_file_line_and_path(tmp_path: Path) -> None:
    document = load_document(tmp_path, TEXT)
    assert document.locate(("jobs", "tick", "exec")) == "config.yaml line 4: jobs.tick.exec"
    assert (
        document.locate(("jobs", "tick", "exec", "command", "1"))
        == "config.yaml line 5: jobs.tick.exec.command[1]"
    )
    assert document.locate(()) == "config.yaml line 2"


def test_a_field_below_a_prefix_is_named_with_its_whole_path(tmp_path: Path) -> None:
    locate = load_document(tmp_path, TEXT).field_locator("jobs")
    assert locate(("tick", "exec")) == "config.yaml line 4: jobs.tick.exec"


def test_a_missing_field_has_the_line_of_its_parent(tmp_path: Path) -> None:
    assert (
        load_document(tmp_path, TEXT).locate(("jobs", "tick", "exac", "x"))
        == "config.yaml line 3: jobs.tick.exac.x"
    )


def test_values_are_text_numbers_booleans_lists_and_mappings(tmp_path: Path) -> None:
    text = "a: 1\nb: 1.5\nc: yes\nd: off\ne: ~\nf: 2020-01-01\ng: 1:30\nh: '5'\ni: [0x10, {j: k}]\n8: x\n"
    assert load_document(tmp_path, text).data == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": False,
        "e": None,
        "f": "2020-01-01",
        "g": "1:30",
        "h": "5",
        "i": ["0x10", {"j": "k"}],
        "8": "x",
    }


def test_json_may_be_indented_with_tabs(tmp_path: Path) -> None:
    assert load_document(tmp_path, '{\n\t"a": true,\n\t"b": []\n}').data == {"a": True, "b": []}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "config.yaml line 2 has a twice"),
        ("x:\n  a: 1\n  a: 2", "config.yaml line 3: x has a twice"),
        ("[a]: 1", "config.yaml line 1 has a name that is not text"),
        ("a: &a [*a]", "config.yaml line 1: a[0] has too many values after its aliases are expanded"),
        ("a: [", "config.yaml line 1 is neither YAML nor JSON: "),
        (b"\xc3", "config.yaml is neither YAML nor JSON: it has invalid characters"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str | bytes, message: str, tmp_path: Path) -> None:
    assert error_of(tmp_path, text).startswith(message)


def test_a_file_may_hold_several_documents_each_with_its_own_lines(tmp_path: Path) -> None:
    path = write_file(tmp_path, "# first\na: 1\n---\n# nothing\n---\nb: 2\n--- {c: 3}\n")
    documents = [each for each in read_documents(path, "many.yaml") if isinstance(each, Document)]
    assert [each.data for each in documents] == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert [each.locate(()) for each in documents] == ["many.yaml line 2", "many.yaml line 6", "many.yaml line 7"]


def test_an_invalid_document_does_not_affect_the_others(tmp_path: Path) -> None:
    path = write_file(tmp_path, "a: 1\n---\nb: [\n---\nc: 3\n")
    good, bad, also_good = read_documents(path, "many.yaml")
    assert isinstance(good, Document)
    assert isinstance(also_good, Document)
    assert str(bad).startswith("many.yaml line ")
    assert also_good.locate(("c",)) == "many.yaml line 5: c"


def test_a_missing_file_is_an_error_in_place_of_its_documents(tmp_path: Path) -> None:
    assert [str(each) for each in read_documents(tmp_path / "x", "x")] == [
        "x cannot be read: No such file or directory"
    ]
