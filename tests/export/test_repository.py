from collections.abc import Iterator
from pathlib import Path

import pytest

from pupil_export import ExportError
from pupil_export.repository import check_name, new_version, write_bundle


class Interrupted(dict[str, bytes]):
    """Files of which the second never comes: Ctrl-C."""

    def items(self) -> Iterator[tuple[str, bytes]]:  # type: ignore[override]  # an iterator is enough here
        yield "model.onnx", b"whole"
        raise KeyboardInterrupt


def test_a_bundle_appears_with_all_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "models/digits/1"
    write_bundle(folder, {"model.onnx": b"graph", "golden/0.png": b"picture"})
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*")} == {
        "model.onnx",
        "golden",
        "golden/0.png",
    }
    assert (folder / "golden/0.png").read_bytes() == b"picture"
    assert list(folder.parent.iterdir()) == [folder]


def test_an_interrupted_export_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path / "models/digits/1", Interrupted())
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_what_was_there(tmp_path: Path) -> None:
    write_bundle(tmp_path / "models/digits/1", {"model.onnx": b"old"})
    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path / "models/digits/2", Interrupted())
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [
        "models/digits/1/model.onnx"
    ]


def test_a_full_disk_is_one_line_and_leaves_nothing(toolbox, tmp_path: Path) -> None:
    told = r"digits/1: not written \(File too large\); nothing was left behind$"
    with toolbox.files_no_larger_than(1000), pytest.raises(ExportError, match=told):
        write_bundle(tmp_path / "models/digits/1", {"model.onnx": bytes(5000)})
    assert list(tmp_path.iterdir()) == []


def test_a_repository_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("not a folder")
    with pytest.raises(ExportError, match="Not a directory"):
        new_version(tmp_path / "models", "digits", None)
    with pytest.raises(ExportError, match="Not a directory"):
        write_bundle(tmp_path / "models/digits/1", {"model.onnx": b"graph"})


def test_a_version_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    write_bundle(tmp_path / "digits/1", {"model.onnx": b"old"})
    with pytest.raises(ExportError, match="digits/1: exists already; leave --version out"):
        new_version(tmp_path, "digits", 1)
    with pytest.raises(ExportError, match="made by someone else meanwhile"):
        write_bundle(tmp_path / "digits/1", {"model.onnx": b"new"})
    assert (tmp_path / "digits/1/model.onnx").read_bytes() == b"old"


def test_the_next_version_counts_as_numbers_do_and_ignores_what_is_no_version(tmp_path: Path) -> None:
    assert new_version(tmp_path, "digits", None) == 1
    for name in ("2", "10", "03", ".11.4711", "latest", "aliases.json"):
        (tmp_path / "digits" / name).mkdir(parents=True)
    assert new_version(tmp_path, "digits", None) == 11
    assert new_version(tmp_path, "digits", 5) == 5
    with pytest.raises(ExportError, match="version 0: a whole number from 1 on"):
        new_version(tmp_path, "digits", 0)


@pytest.mark.parametrize("name", ["", "../escape", "a/b", ".hidden", "-x", "ü", "a b", "a\n"])
def test_a_name_that_a_folder_or_url_cannot_carry_is_refused(name: str) -> None:
    with pytest.raises(ExportError, match="letters, digits"):
        check_name(name)


def test_usual_names_are_taken(tmp_path: Path) -> None:
    assert [check_name(name) for name in ("digits", "resnet18-v2.1_a", "7")] == ["digits", "resnet18-v2.1_a", "7"]
