"""Tokens and TLS from the client's side, against the real `pupil serve`."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from pupil_client import AsyncClient, Client, Overloaded, PermissionDenied, Unauthenticated, Unavailable
from pupil_client.command import main


@dataclass
class Guarded:
    """A server that asks for a client's certificate and for a token, and what it takes to be let in."""

    address: str
    http: str
    ca: Path
    certificate: Path
    key: Path
    shop: str
    labeller: str


def make_token(file: Path, *options: str) -> str:
    made = CliRunner().invoke(main, ["token", *options], catch_exceptions=False)
    with file.open("a") as tokens:
        tokens.write(made.stdout)
    return str(made.stderr.split()[-1])


@pytest.fixture(scope="module")
def guarded(toolbox, tmp_path_factory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    toolbox.write_bundle(folder / "repository", "student", seed=2)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    for name, issued in (("server", ca.issue_cert("127.0.0.1")), ("client", ca.issue_cert("us@example.org"))):
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    tokens = folder / "tokens.toml"
    shop = make_token(tokens, "shop", "--scope", "infer", "--images-per-second", "0.001", "--burst", "6")
    labeller = make_token(tokens, "labeller", "--scope", "label")
    options = ["--tls-certificate", folder / "server.pem", "--tls-key", folder / "server.key"]
    options += ["--tls-client-ca", folder / "ca.pem", "--tokens", tokens]
    with toolbox.run_server(folder / "repository", *map(str, options)) as server:
        files = (folder / "ca.pem", folder / "client.pem", folder / "client.key")
        yield Guarded(server.address, server.http, *files, shop, labeller)


@pytest.fixture
def image(toolbox) -> bytes:
    return toolbox.png(toolbox.random_pixels(1, seed=0)[0])


def test_both_faces_are_let_in_with_certificate_and_token(guarded: Guarded, image: bytes) -> None:
    tls = {"tls": guarded.ca, "certificate": guarded.certificate, "key": guarded.key}

    async def awaited() -> list[str]:
        async with AsyncClient(guarded.address, token=guarded.labeller, **tls) as client:
            assert await client.health()
            return [
                each.prediction.label async for each in client.pseudo_label([image], model="student", guarantee="none")
            ]

    with Client(guarded.address, token=guarded.shop, **tls) as client:
        (streamed,) = client.classify_stream([image], model="student")
        assert client.classify(image, model="student").label == streamed.label
        with pytest.raises(PermissionDenied, match="lacks the scope admin"):
            client.unload("student")
        with pytest.raises(PermissionDenied, match="lacks the scope label"):
            list(client.pseudo_label([image], model="student"))
        with pytest.raises(Overloaded, match="quota") as refused:
            client.classify([image] * 5, model="student")
        assert refused.value.retry_after > 100
    assert asyncio.run(awaited()) == [streamed.label]


@pytest.mark.parametrize("token", [None, "pupil_guess"])
def test_without_a_token_that_is_known_nothing_is_told(guarded: Guarded, token: str | None) -> None:
    with Client(
        guarded.address, token=token, tls=guarded.ca, certificate=guarded.certificate, key=guarded.key
    ) as client:
        with pytest.raises(Unauthenticated, match="a valid token is needed"):
            client.models()
        assert client.health()


def test_without_our_certificate_there_is_no_connection(guarded: Guarded) -> None:
    with Client(guarded.address, token=guarded.shop, tls=guarded.ca, tries=1) as client, pytest.raises(Unavailable):
        client.models()


@pytest.mark.parametrize(
    ("tls", "port", "says"),
    [
        (True, "grpc", "its certificate is of no authority that we trust"),
        (False, "grpc", "it ends the connection at once; does it want TLS"),
        (True, "http", "it speaks no TLS"),
        (False, "http", "it speaks no gRPC; is that its HTTP port"),
    ],
)
def test_who_knocks_in_the_wrong_way_is_told_what_is_wrong(guarded: Guarded, tls: bool, port: str, says: str) -> None:
    address = guarded.address if port == "grpc" else guarded.http
    with Client(address, tls=tls, tries=1) as client, pytest.raises(Unavailable, match=f"^no connection to .*{says}"):
        client.models()


@pytest.mark.parametrize(("given", "says"), [({"certificate"}, "give both"), ({"certificate", "key"}, "for TLS")])
def test_credentials_that_do_not_belong_together_are_told_apart(guarded: Guarded, given: set[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Client(guarded.address, **{name: getattr(guarded, name) for name in given})


@pytest.mark.parametrize(
    ("url", "says"),
    [("http://h:1", "here h:1$"), ("https://h:1/", r"here h:1; for TLS say so \(--tls, or tls=True\)$")],
)
def test_an_address_that_is_a_url_is_told_as_one(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Client(url)


def test_the_command_line_takes_the_token_from_the_environment(guarded: Guarded, image: bytes, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(image)
    server = ["--server", guarded.address, "--tls-ca", guarded.ca, "--tls-certificate", guarded.certificate]
    verb = ["models", "list", "--json", *server, "--tls-key", guarded.key]
    runner = CliRunner(env={"PUPIL_TOKEN": guarded.labeller})
    listed = runner.invoke(main, [str(word) for word in verb], catch_exceptions=False)
    assert json.loads(listed.stdout)["name"] == "student"
    refused = CliRunner(env={"PUPIL_TOKEN": ""}).invoke(main, [str(word) for word in verb])
    assert (refused.exit_code, "Error: a valid token is needed" in refused.stderr) == (1, True)
    assert refused.stderr.endswith("; here that is PUPIL_TOKEN, or --token\n")
    classify = ["classify", tmp_path / "image.png", "--model", "student", *server, "--tls-key", guarded.key]
    denied = runner.invoke(main, [str(word) for word in classify])
    assert (denied.exit_code, "the token lacks the scope infer" in denied.stderr) == (1, True)
