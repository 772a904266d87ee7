"""The precisions that a bundle may hold its weights in, and what their files are called."""

from collections.abc import Iterable

from pupil_export.errors import ExportError

PRECISIONS = ("fp32", "fp16", "int8")


def in_order(named: Iterable[str]) -> tuple[str, ...]:
    """Each of those named once, and fp32 always, in the order of `PRECISIONS`; ExportError for an unknown one."""
    wanted = {"fp32", *(name.strip() for name in named)}
    for name in sorted(wanted.difference(PRECISIONS)):
        raise ExportError(f"'{name}' is no precision; --precision takes {', '.join(PRECISIONS)}, with commas between")
    return tuple(precision for precision in PRECISIONS if precision in wanted)


def file_of(precision: str, file: str) -> str:
    """What fp32's `file` is called in another precision: model.onnx becomes model.int8.onnx."""
    name, dot, ending = file.rpartition(".")
    return file if precision == "fp32" else f"{name}.{precision}{dot}{ending}"
