"""A server for the time of one job, over one bundle, on this machine."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pupil_client.own_server import running_server


class Local(NamedTuple):
    """Where the server listens, and what its model is called."""

    address: str
    model: str


@contextmanager
def serving(bundle: Path) -> Iterator[Local]:
    """A `pupil serve` of our own on a free loopback port. Raises ValueError for what is no bundle, OSError."""
    name, version = _name_of(bundle)
    with TemporaryDirectory(prefix="pupil-local-") as temporary:
        repository = Path(temporary, "repository")
        (repository / name).mkdir(parents=True)
        (repository / name / version).symlink_to(bundle.resolve())
        with running_server(repository, Path(temporary, "server.log")) as address:
            yield Local(address, f"{name}/{version}")


def _name_of(bundle: Path) -> tuple[str, str]:
    file = bundle / "bundle.json"
    try:
        facts = json.loads(file.read_bytes())
        name, version = str(facts["model"]), str(facts["version"])
    except FileNotFoundError:
        raise ValueError(f"{bundle}: no bundle.json in it; --local takes <repository>/<model>/<version>") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not a bundle's ({error!r}); export it again") from None
    if Path(name).name != name or not version.isdecimal():
        raise ValueError(f"{file}: {name!r} version {version!r} cannot be served; export it again")
    return name, version
