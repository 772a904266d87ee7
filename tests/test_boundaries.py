"""Which part may import which: this table is the architecture."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT: dict[str, set[str]] = {
    "proto/pupil_proto": set(),
    "trust/pupil_trust": set(),
    "training/pupil_training": {"pupil_trust", "pupil_client"},  # the client for a served teacher alone, see below
    "export/pupil_export": {"pupil_training", "pupil_trust"},
    "server/pupil_server": {"pupil_proto", "pupil_trust"},
    "clients/python/pupil_client": {"pupil_proto", "pupil_trust"},
}
PARTS = {Path(part).name for part in MAY_IMPORT}
NEVER = {
    "pupil_server": {"torch", "torchvision", "onnx"},
    "pupil_client": {"torch", "numpy", "onnxruntime"},
    "pupil_trust": {"torch", "onnxruntime", "grpc"},
}
HEAVY = {"torch", "torchvision", "numpy", "scipy", "sklearn", "onnx", "onnxruntime", "PIL", "pydantic", "matplotlib"}


def imports(tree: ast.AST) -> set[str]:
    """Top-level names of every import below `tree`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_it_may(part: str) -> None:
    name = Path(part).name
    forbidden = (PARTS - MAY_IMPORT[part] - {name}) | NEVER.get(name, set())
    for file in (ROOT / part).rglob("*.py"):
        wrong = imports(ast.parse(file.read_text())) & forbidden
        assert not wrong, f"{file.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_training_speaks_to_a_server_in_one_file_only() -> None:
    files = (ROOT / "training/pupil_training").rglob("*.py")
    speaking = [file.name for file in files if imports(ast.parse(file.read_text())) & {"pupil_client", "grpc"}]
    assert speaking == ["server_teacher.py"]


@pytest.mark.parametrize("file", [file for part in MAY_IMPORT for file in (ROOT / part).rglob("*cli.py")])
def test_a_command_line_opens_without_its_heavy_libraries(file: Path) -> None:
    for opened in {file, file.with_name("__init__.py")}:  # of a part within a part
        tree = ast.parse(opened.read_text())
        at_the_top = ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
        assert not imports(at_the_top) & HEAVY


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_is_typed_for_those_who_import_it(part: str) -> None:
    assert (ROOT / part / "py.typed").exists()
