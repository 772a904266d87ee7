"""The files of a multipart/form-data body (RFC 2046, RFC 7578).

The standard library's parser reads mail, line by line: tens of seconds for a body of nothing but line ends.
"""

import re

from pupil_server.errors import BadRequest

MOST_PARTS = 1024
BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)


def multipart(content_type: str, body: bytes) -> list[bytes]:
    """What each part carries, in order. Raises BadRequest for a body that does not end as it should."""
    found = BOUNDARY.search(content_type)
    if not found:
        raise BadRequest("Content-Type: multipart/form-data without its boundary")
    boundary = b"\r\n--" + (found[1] or found[2]).encode("latin-1")
    _, *parts = (b"\r\n" + body).split(boundary, MOST_PARTS + 1)
    if not parts or not parts.pop().startswith(b"--"):
        raise BadRequest(f"multipart/form-data: no last boundary within {MOST_PARTS:,} parts")
    return [_content(part) for part in parts]


def _content(part: bytes) -> bytes:
    _, blank, content = part.partition(b"\r\n\r\n")
    if not blank:
        raise BadRequest("multipart/form-data: a part without the blank line after its headers")
    return content
