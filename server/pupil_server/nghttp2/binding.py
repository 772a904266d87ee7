"""libnghttp2 through cffi in ABI mode: no compiler, and no frame is parsed by us.

Importing this file loads the library. It raises LibraryMissing where there is none, or one that lacks the defences
which we rely on: Debian has put them into its 1.52, others have them from 1.61 on.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import _cffi_backend
import cffi

NAMES = (
    "libnghttp2.so.14",
    "libnghttp2.14.dylib",
    "/opt/homebrew/lib/libnghttp2.14.dylib",
    "/usr/local/lib/libnghttp2.14.dylib",
)
DEFENCES = ("nghttp2_option_set_stream_reset_rate_limit", "nghttp2_option_set_max_continuations")

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 2, 3, 4, 6, 8
END_STREAM = ACK = 0x1
DATA_EOF, DATA_NO_END_STREAM = 0x1, 0x2
NO_INDEX, NO_COPY_NAME, NO_COPY = 0x1, 0x2, 0x2 | 0x4  # the last one: neither name nor value
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 3, 4, 5, 6
NO_ERROR, INTERNAL_ERROR, CANCEL, ENHANCE_YOUR_CALM = 0x0, 0x2, 0x8, 0xB
ERR_DEFERRED, ERR_TEMPORAL, ERR_CALLBACK = -508, -521, -902

# What FFI's methods of the same names call; some are called for every header of every request.
from_handle, memmove, unpack = _cffi_backend.from_handle, _cffi_backend.memmove, _cffi_backend.unpack
ffi: Any = cffi.FFI()
ffi.cdef("""
typedef struct nghttp2_session nghttp2_session;
typedef struct nghttp2_session_callbacks nghttp2_session_callbacks;
typedef struct nghttp2_option nghttp2_option;
typedef struct { int age; int version_num; const char *version_str; const char *proto_str; } nghttp2_info;
typedef struct { size_t length; int32_t stream_id; uint8_t type; uint8_t flags; uint8_t reserved; } nghttp2_frame_hd;
typedef struct { const char *name; const char *value; size_t namelen; size_t valuelen; uint8_t flags; } nghttp2_nv;
typedef union { int fd; void *ptr; } nghttp2_data_source;
typedef struct { nghttp2_data_source source;
    ssize_t (*read_callback)(nghttp2_session *, int32_t, uint8_t *, size_t, uint32_t *, nghttp2_data_source *, void *);
} nghttp2_data_provider;
typedef struct { int32_t settings_id; uint32_t value; } nghttp2_settings_entry;

nghttp2_info *nghttp2_version(int);
const char *nghttp2_strerror(int);

int nghttp2_option_new(nghttp2_option **);
void nghttp2_option_del(nghttp2_option *);
void nghttp2_option_set_no_auto_window_update(nghttp2_option *, int);
void nghttp2_option_set_no_closed_streams(nghttp2_option *, int);
void nghttp2_option_set_stream_reset_rate_limit(nghttp2_option *, uint64_t, uint64_t);
void nghttp2_option_set_max_continuations(nghttp2_option *, size_t);

int nghttp2_session_callbacks_new(nghttp2_session_callbacks **);
void nghttp2_session_callbacks_set_on_begin_headers_callback(nghttp2_session_callbacks *,
    int (*)(nghttp2_session *, const nghttp2_frame_hd *, void *));
void nghttp2_session_callbacks_set_on_header_callback(nghttp2_session_callbacks *,
    int (*)(nghttp2_session *, const nghttp2_frame_hd *, const char *, size_t, const char *, size_t, uint8_t, void *));
void nghttp2_session_callbacks_set_on_frame_recv_callback(nghttp2_session_callbacks *,
    int (*)(nghttp2_session *, const nghttp2_frame_hd *, void *));
void nghttp2_session_callbacks_set_on_data_chunk_recv_callback(nghttp2_session_callbacks *,
    int (*)(nghttp2_session *, uint8_t, int32_t, const char *, size_t, void *));
void nghttp2_session_callbacks_set_on_stream_close_callback(nghttp2_session_callbacks *,
    int (*)(nghttp2_session *, int32_t, uint32_t, void *));

int nghttp2_session_server_new2(nghttp2_session **, const nghttp2_session_callbacks *, void *, const nghttp2_option *);
void nghttp2_session_del(nghttp2_session *);
ssize_t nghttp2_session_mem_recv(nghttp2_session *, const char *, size_t);
ssize_t nghttp2_session_mem_send(nghttp2_session *, const char **);
int nghttp2_session_want_read(nghttp2_session *);
int nghttp2_session_want_write(nghttp2_session *);
int nghttp2_session_consume_connection(nghttp2_session *, size_t);
int nghttp2_session_consume_stream(nghttp2_session *, int32_t, size_t);
int nghttp2_session_set_local_window_size(nghttp2_session *, uint8_t, int32_t, int32_t);
int nghttp2_session_resume_data(nghttp2_session *, int32_t);
int nghttp2_session_terminate_session(nghttp2_session *, uint32_t);
int32_t nghttp2_session_get_last_proc_stream_id(nghttp2_session *);
int nghttp2_submit_settings(nghttp2_session *, uint8_t, const nghttp2_settings_entry *, size_t);
int nghttp2_submit_response(nghttp2_session *, int32_t, const nghttp2_nv *, size_t, const nghttp2_data_provider *);
int nghttp2_submit_trailer(nghttp2_session *, int32_t, const nghttp2_nv *, size_t);
int nghttp2_submit_rst_stream(nghttp2_session *, uint8_t, int32_t, uint32_t);
int nghttp2_submit_ping(nghttp2_session *, uint8_t, const uint8_t *);
int nghttp2_submit_shutdown_notice(nghttp2_session *);
int nghttp2_submit_goaway(nghttp2_session *, uint8_t, int32_t, uint32_t, const uint8_t *, size_t);
""")


class LibraryMissing(ImportError):
    """libnghttp2 cannot be used here; the text says why, and what to do."""


class ProtocolError(Exception):
    """What the peer sent is no HTTP/2, or too much of it; the session is over."""


class Block(NamedTuple):
    """Headers in the form that the library takes. `kept` holds what it points to."""

    array: Any
    size: int
    kept: list[Any]


def block(*headers: tuple[bytes, bytes]) -> Block:
    """The library does not copy them: a block must live until its frame is written."""
    kept = [(ffi.new("char[]", name), ffi.new("char[]", value)) for name, value in headers]
    rows = [
        (name, value, len(plain[0]), len(plain[1]), NO_COPY) for (name, value), plain in zip(kept, headers, strict=True)
    ]
    return Block(ffi.new("nghttp2_nv[]", rows), len(rows), kept)


class Form:
    """Headers of which the last value differs from one use to the next. That one the library copies when it is used."""

    def __init__(self, *headers: tuple[bytes, bytes], last: bytes) -> None:
        self._block = block(*headers, (last, b""))
        self._last = self._block.array[len(headers)]
        self._last.flags = NO_COPY_NAME | NO_INDEX  # it would only drive the others out of the peer's table
        self._value = b""

    def filled(self, value: bytes) -> Block:
        """To be submitted before the next one is."""
        self._value = value  # kept until then
        self._last.value, self._last.valuelen = ffi.from_buffer(value), len(value)
        return self._block


def _load(names: Iterable[str] = NAMES) -> Any:
    for name in names:
        try:
            found = ffi.dlopen(name)
            break
        except OSError:
            continue
    else:
        raise LibraryMissing("no libnghttp2.so.14 here; install Debian's libnghttp2-14 or Homebrew's nghttp2")
    for function in DEFENCES:
        if not hasattr(found, function):
            raise LibraryMissing(f"libnghttp2 {_version(found)} has no {function}; install 1.61 or newer")
    return found


def _version(library: Any) -> str:
    return str(ffi.string(library.nghttp2_version(0).version_str).decode())


lib = _load()
VERSION = _version(lib)


def check(result: int) -> None:
    """Raises ProtocolError for what the library calls an error."""
    if result < 0:
        raise ProtocolError(ffi.string(lib.nghttp2_strerror(result)).decode())
