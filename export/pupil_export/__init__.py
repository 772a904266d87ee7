"""Runs in, bundles out."""

from pupil_export.bundle import export
from pupil_export.errors import ExportError

__all__ = ["ExportError", "export"]
