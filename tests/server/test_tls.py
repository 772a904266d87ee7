import asyncio
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import trustme

from pupil_proto.v1 import models_pb2, models_pb2_grpc
from pupil_server.server import Server
from pupil_server.settings import ServerSettings
from pupil_server.tls import newest_context, reloaded_certificates

PATIENCE = 20.0
YESTERDAY, LAST_YEAR = (datetime.now(UTC) - timedelta(days=days) for days in (1, 366))


class Files:
    """A folder with a server's certificate and key, of an authority of our own."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.certificate, self.key, self.authority = folder / "tls.crt", folder / "tls.key", folder / "ca.crt"
        self.ca.cert_pem.write_to_path(self.authority)
        self.issue()

    def issue(self, **more: datetime) -> trustme.LeafCert:
        """A new certificate and key, in the place of the old ones."""
        issued = self.ca.issue_cert("127.0.0.1", **more)
        self.certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())
        return issued

    @property
    def options(self) -> list[str]:
        return ["--tls-certificate", str(self.certificate), "--tls-key", str(self.key)]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def list_models(address: str, ca: trustme.CA, client: trustme.LeafCert | None = None) -> list[str]:
    credentials = grpc.ssl_channel_credentials(
        ca.cert_pem.bytes(),
        client and client.private_key_pem.bytes(),
        client and client.cert_chain_pems[0].bytes(),
    )
    with grpc.secure_channel(address, credentials) as channel:
        found = models_pb2_grpc.ModelsStub(channel).List(models_pb2.ListModelsRequest(), timeout=PATIENCE)
        return [model.name for model in found.models]


def refused(call: Callable[..., object], *arguments: object) -> bool:
    """Whether the connection fails, before any method is reached."""
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments)
    return raised.value.code() == grpc.StatusCode.UNAVAILABLE


def shown(address: str) -> bytes:
    """The certificate that the server shows, as OpenSSL sees it."""
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), timeout=PATIENCE) as plain,
        context.wrap_socket(plain) as connection,
    ):
        found = connection.getpeercert(binary_form=True)
    assert found
    return found


def der_in(file: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(file.read_text())


def der(issued: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


def test_a_client_that_trusts_the_authority_is_answered_and_nobody_else(start, files: Files) -> None:
    with start(*files.options) as server:
        assert list_models(server.address, files.ca) == ["student", "teacher"]
        assert refused(list_models, server.address, trustme.CA())
        with grpc.insecure_channel(server.address) as plain:
            assert refused(models_pb2_grpc.ModelsStub(plain).List, models_pb2.ListModelsRequest())


def test_with_mutual_tls_only_clients_of_the_authority_with_a_valid_certificate_are_let_in(start, files: Files) -> None:
    with start(*files.options, "--tls-client-ca", str(files.authority)) as server:
        known = files.ca.issue_cert("client@example.org")
        stranger = trustme.CA().issue_cert("client@example.org")
        expired = files.ca.issue_cert("client@example.org", not_before=LAST_YEAR, not_after=YESTERDAY)
        assert list_models(server.address, files.ca, known) == ["student", "teacher"]
        for client in (None, stranger, expired):
            assert refused(list_models, server.address, files.ca, client)
        assert list_models(server.address, files.ca, known) == ["student", "teacher"]


@pytest.mark.parametrize("how", ["signal", "change"])
def test_a_new_certificate_holds_for_the_next_connection_and_the_old_ones_go_on(
    start, files: Files, becomes, how: str
) -> None:
    with start(*files.options) as server:
        credentials = grpc.ssl_channel_credentials(files.ca.cert_pem.bytes())
        with grpc.secure_channel(server.address, credentials) as channel:
            listing = models_pb2_grpc.ModelsStub(channel).List
            listing(models_pb2.ListModelsRequest(), timeout=PATIENCE)
            newer = files.issue()
            if how == "signal":
                server.process.send_signal(signal.SIGHUP)
            becomes(lambda: shown(server.address) == der(newer))
            listing(models_pb2.ListModelsRequest(), timeout=PATIENCE)
        assert list_models(server.address, files.ca) == ["student", "teacher"]


def test_a_half_written_certificate_and_one_without_its_key_are_never_taken(start, files: Files, becomes) -> None:
    with start(*files.options) as server:
        before = shown(server.address)
        whole = files.certificate.read_bytes()
        files.certificate.write_bytes(whole[: len(whole) // 2])
        server.process.send_signal(signal.SIGHUP)
        becomes(lambda: server.log.read_text().count("stays in force") == 1)
        assert shown(server.address) == before
        files.certificate.write_bytes(files.ca.issue_cert("127.0.0.1").cert_chain_pems[0].bytes())
        server.process.send_signal(signal.SIGHUP)
        becomes(lambda: server.log.read_text().count("stays in force") == 2)
        assert shown(server.address) == before
        newer = files.issue()
        becomes(lambda: shown(server.address) == der(newer))


def test_a_client_refuses_a_server_whose_certificate_has_expired(start, files: Files) -> None:
    files.issue(not_before=LAST_YEAR, not_after=YESTERDAY)
    with start(*files.options) as server:
        assert refused(list_models, server.address, files.ca)


def test_a_context_of_pythons_ssl_takes_the_certificates_and_authorities_in_force(files: Files) -> None:
    settings = ServerSettings(
        repository=Path(),
        tls_certificate=files.certificate,
        tls_key=files.key,
        tls_client_ca=files.authority,
    )
    old, other = files.ca, trustme.CA()

    def greeted(port: int, client: trustme.LeafCert) -> bytes:
        """The certificate of the server that says hello; nothing where it closes the door."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        for ca in (old, other):
            ca.configure_trust(context)
        client.configure_cert(context)
        context.set_alpn_protocols(["h2"])
        try:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain,
                context.wrap_socket(plain) as connection,
            ):
                return (connection.getpeercert(binary_form=True) or b"") if connection.recv(5) == b"hello" else b""
        except (ssl.SSLError, ConnectionError):
            return b""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async def run() -> None:
        certificates = reloaded_certificates(settings)
        assert certificates
        first, known = der_in(files.certificate), old.issue_cert("us@example.org")
        newcomer = other.issue_cert("us@example.org")
        async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=newest_context(certificates)) as server:
            port = server.sockets[0].getsockname()[1]
            assert await asyncio.to_thread(greeted, port, known) == first
            assert await asyncio.to_thread(greeted, port, newcomer) == b""
            newer = files.issue()
            other.cert_pem.write_to_path(files.authority)
            certificates.reload()
            assert await asyncio.to_thread(greeted, port, newcomer) == der(newer)
            assert await asyncio.to_thread(greeted, port, known) == b""

    asyncio.run(run())


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda files: files.key.unlink(), "tls.key: No such file"),
        (lambda files: files.key.write_bytes(b"rubbish"), "not a PEM certificate with its unencrypted key"),
        (lambda files: files.key.write_bytes(Files(files.key.parent.parent).key.read_bytes()), "KEY_VALUES_MISMATCH"),
        (lambda files: files.authority.write_bytes(b"rubbish"), "ca.crt: not a PEM file of authorities"),
    ],
)
def test_certificates_that_do_not_work_end_the_start_with_one_line(repository, tmp_path, damage, says: str) -> None:
    (tmp_path / "tls").mkdir()
    files = Files(tmp_path / "tls")
    damage(files)
    ended = serve(repository, *files.options, "--tls-client-ca", str(files.authority))
    assert (ended.returncode, ended.stdout, "Traceback" in ended.stderr) == (1, "", False)
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert says in last


def test_a_certificate_without_a_key_is_told_what_is_missing(repository, files: Files) -> None:
    ended = serve(repository, *files.options[:2])
    assert (ended.returncode, "TLS takes both --tls-certificate and --tls-key" in ended.stderr) == (1, True)


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("::", True), ("127.0.0.1", False), ("[::1]", False)])
def test_listening_beyond_this_machine_without_tls_is_said(repository, caplog, host: str, warned: bool) -> None:
    async def make() -> None:
        await Server(ServerSettings(repository=repository, host=host)).stop()

    asyncio.run(make())
    assert ("without TLS: whoever is on the way can read" in caplog.text) == warned


def serve(repository: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pupil_client", "serve", "--repository", str(repository), "--http-port", "0"]
    return subprocess.run([*command, *options], capture_output=True, text=True, timeout=60)
