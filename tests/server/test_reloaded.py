import logging
from pathlib import Path

import pytest

from pupil_server.errors import SettingsError
from pupil_server.reloaded import Reloaded


def read(file: Path) -> str:
    text = file.read_text()
    if not text.endswith("."):
        raise SettingsError(f"{file}: no full stop")
    return text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_text("old.")
    return file


def reloaded(file: Path) -> Reloaded[str]:
    return Reloaded([file], lambda: read(file))


def test_a_change_is_taken_once_two_looks_in_a_row_find_the_same(file: Path) -> None:
    found = reloaded(file)
    file.write_text("being written, but it ends like a whole.")
    found.look()
    assert found.content == "old."
    file.write_text("new.")
    found.look()
    assert found.content == "old."
    found.look()
    assert found.content == "new."


def test_what_is_not_understood_is_said_once_and_changes_nothing(file: Path, caplog) -> None:
    found = reloaded(file)
    file.write_text("broken")
    for _ in range(5):
        found.look()
    assert found.content == "old."
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert line == f"{file}: no full stop; what was read before stays in force"
    file.write_text("mended.")
    found.look()
    found.look()
    assert found.content == "mended."


def test_a_file_that_vanishes_and_comes_back_is_taken_again(file: Path) -> None:
    found = Reloaded([file], lambda: read(file) if file.exists() else pytest.fail("nothing to read"))
    file.rename(file.with_name("aside"))
    found.look()
    file.write_text("back.")
    found.look()
    found.look()
    assert found.content == "back."


def test_a_link_that_points_elsewhere_is_a_change_as_in_a_mounted_secret(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"{name}.")
    link = tmp_path / "link"
    link.symlink_to("one")
    found = reloaded(link)
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(link)
    found.look()
    found.look()
    assert found.content == "two."


def test_what_changes_while_it_is_read_is_not_taken(file: Path) -> None:
    def slow() -> str:
        text = read(file)
        if text == "half.":
            file.write_text("whole and longer.")
        return text

    found = Reloaded([file], slow)
    file.write_text("half.")
    found.reload()
    assert found.content == "old."
    found.reload()
    assert found.content == "whole and longer."


def test_a_file_that_cannot_be_used_at_the_start_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("broken")
    with pytest.raises(SettingsError):
        reloaded(tmp_path / "file")
