"""Runs in, bundles out. Behind this door is torch, so it is opened only when entered."""

from typing import TYPE_CHECKING, Any

from pupil_export.errors import ExportError

if TYPE_CHECKING:
    from pupil_export.bundle import export

__all__ = ["ExportError", "export"]


def __getattr__(name: str) -> Any:
    if name == "export":
        from pupil_export.bundle import export

        return export
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
