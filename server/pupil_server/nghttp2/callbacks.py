"""Functions of ours in the form that the library calls."""

import logging
from collections.abc import Callable
from typing import Any

from pupil_server.nghttp2.binding import ERR_CALLBACK, check, ffi, lib

log = logging.getLogger("pupil.nghttp2")

SIGNATURES = {
    "on_begin_headers": "int(nghttp2_session *, const nghttp2_frame_hd *, void *)",
    "on_header": "int(nghttp2_session *, const nghttp2_frame_hd *, "
    "const char *, size_t, const char *, size_t, uint8_t, void *)",
    "on_frame_recv": "int(nghttp2_session *, const nghttp2_frame_hd *, void *)",
    "on_data_chunk_recv": "int(nghttp2_session *, uint8_t, int32_t, const char *, size_t, void *)",
    "on_stream_close": "int(nghttp2_session *, int32_t, uint32_t, void *)",
}
READ = "ssize_t(nghttp2_session *, int32_t, uint8_t *, size_t, uint32_t *, nghttp2_data_source *, void *)"

_kept: list[Any] = []  # what C points to must not be collected


def callbacks(**functions: Callable[..., int]) -> Any:
    """What sessions are made with: the library's callbacks, by their names in it."""
    made = ffi.new("nghttp2_session_callbacks **")
    check(lib.nghttp2_session_callbacks_new(made))
    for name, function in functions.items():
        getattr(lib, f"nghttp2_session_callbacks_set_{name}_callback")(made[0], _callback(SIGNATURES[name], function))
    return made[0]


def provider(read: Callable[..., int]) -> Any:
    """What answers with a body are submitted with."""
    return ffi.new("nghttp2_data_provider *", {"read_callback": _callback(READ, read)})


def _callback(signature: str, function: Callable[..., int]) -> Any:
    _kept.append(ffi.callback(signature, function, error=ERR_CALLBACK, onerror=_failed))
    return _kept[-1]


def _failed(kind: Any, error: Any, trace: Any) -> None:
    log.error("a callback of the HTTP/2 session failed; its connection ends", exc_info=(kind, error, trace))
