"""Who may call: bearer tokens, each with its scopes, kept as hashes in a file."""

import difflib
import hashlib
import hmac
import secrets
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from pupil_server.errors import PermissionDenied, SettingsError, Unauthenticated
from pupil_server.quotas import Bucket, Quota, new_bucket
from pupil_server.reloaded import Reloaded

WANTED = {  # where a key's pattern says too little to whoever writes the file
    "name": "letters, digits, '.', '_' and '-', the first a letter or a digit",
    "sha256": "64 hexadecimal digits in small letters, as pupil token writes them",
    "scopes": "infer, label, admin or some of them",
}


class Scope(StrEnum):
    """What a method asks of its caller's token, where tokens are asked for at all."""

    INFER = "infer"
    LABEL = "label"
    ADMIN = "admin"
    ANY = "any"  # any valid token
    OPEN = "open"  # none: probes have no way to send one


class Entry(BaseModel):
    """One `[[token]]` of the file; docs/files.md explains each key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: frozenset[Annotated[str, Field(pattern=r"^(infer|label|admin)$")]] = Field(min_length=1)
    images_per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    burst: int | None = Field(default=None, gt=0)
    expires: AwareDatetime | None = None

    @model_validator(mode="after")
    def _burst_has_a_rate(self) -> Self:
        if self.burst and self.images_per_second is None:
            raise ValueError("burst: means nothing without images_per_second")
        return self


class TokensFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    token: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Token:
    """A caller who was let in."""

    name: str
    quota: Quota | None


class Tokens:
    """The tokens of a file. Nothing of a token itself is kept: a hash is enough to know it again."""

    def __init__(self, file: Path, make_bucket: Callable[[str, float, int], Bucket] = new_bucket) -> None:
        self._make_bucket = make_bucket
        self.file = Reloaded([file], lambda: read_tokens(file))
        self._buckets: dict[tuple[str, float, int], Bucket] = {}  # outlive a reload: it must not fill them again

    def check(self, authorization: str, scope: Scope) -> Token | None:
        """The token of an `authorization` header. Raises Unauthenticated or PermissionDenied."""
        if scope is Scope.OPEN:
            return None
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer":
            raise Unauthenticated("no token")
        entry = self._find(token.strip())
        if entry is None:
            raise Unauthenticated("unknown token")
        if entry.expires and entry.expires <= datetime.now(UTC):
            raise Unauthenticated(f"the token {entry.name} has expired")
        if scope is not Scope.ANY and scope not in entry.scopes:
            raise PermissionDenied(scope)
        return Token(entry.name, self._quota(entry))

    def _find(self, token: str) -> Entry | None:
        """Looks at every entry, whichever fits: the time that it takes tells nothing."""
        found, digest = None, hash_of(token)
        for entry in self.file.content:
            if hmac.compare_digest(entry.sha256, digest):
                found = entry
        return found

    def _quota(self, entry: Entry) -> Quota | None:
        if entry.images_per_second is None:
            return None
        burst = entry.burst or max(1, round(entry.images_per_second))
        key = (entry.name, entry.images_per_second, burst)
        return Quota(self._buckets.setdefault(key, self._make_bucket(*key)))


def new_token() -> str:
    """256 random bits: no guess and no table finds them, so a plain SHA-256 is hash enough."""
    return f"pupil_{secrets.token_urlsafe(32)}"


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def read_tokens(file: Path) -> tuple[Entry, ...]:
    """The file's entries. Raises SettingsError for a file that is not understood as a whole."""
    try:
        return parse_tokens(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from error
    except (SettingsError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None


def parse_tokens(text: str) -> tuple[Entry, ...]:
    """The entries of a file's text. Raises SettingsError."""
    try:
        entries = TokensFile.model_validate(tomllib.loads(text)).token
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"not TOML ({error})") from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]  # what was found may be a token that was not hashed
        raise SettingsError(f"{' '.join(str(part) for part in first['loc'])}: {_wanted(first)}") from None
    for what in ("name", "sha256"):
        values = [getattr(entry, what) for entry in entries]
        if twice := {value for value in values if values.count(value) > 1}:
            raise SettingsError(f"the {what} {min(twice)} stands there twice; remove one")
    return entries


def _wanted(error: ErrorDetails) -> str:
    """What is wrong with a key, for whoever writes the file."""
    *inside, key = map(str, error["loc"])
    if error["type"] == "extra_forbidden":
        known = (Entry if inside else TokensFile).model_fields
        close = difflib.get_close_matches(key, known, 1)
        return f"unknown; did you mean {close[0]!r}?" if close else f"unknown; known: {', '.join(known)}"
    return f"wanted: {WANTED[str(error['loc'][2])]}" if error["type"] == "string_pattern_mismatch" else error["msg"]
