"""Whoever is new finds every file of the server in the map that its package begins with."""

import re
from pathlib import Path

import pytest

import pupil_server
from pupil_server import nghttp2


@pytest.mark.parametrize("package", [pupil_server, nghttp2])
def test_the_map_of_a_package_names_each_of_its_files_once_and_no_other(package) -> None:
    rows = re.findall(r"^ {4}(\w+(?:, \w+)*)  ", package.__doc__, flags=re.MULTILINE)
    named = [name for row in rows for name in row.split(", ")]
    folder = Path(package.__file__).parent
    files = [file.stem for file in folder.glob("*.py") if file.stem != "__init__"]
    assert sorted(named) == sorted([*files, *(file.parent.name for file in folder.glob("*/__init__.py"))])
