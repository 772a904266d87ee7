"""Certificates: from PEM files, checked before anybody relies on them."""

import ssl
from pathlib import Path
from typing import NamedTuple

from pupil_server.errors import SettingsError
from pupil_server.reloaded import Reloaded
from pupil_server.settings import ServerSettings


class Certificates(NamedTuple):
    """PEM: the server's chain with its key, and the authorities whose clients are let in (empty: anybody is).

    The same as a context, for fronts that speak TLS through Python's ssl.
    """

    chain: bytes
    key: bytes
    client_ca: bytes
    context: ssl.SSLContext


def reloaded_certificates(settings: ServerSettings) -> Reloaded[Certificates] | None:
    """The certificates that the settings name; None without TLS. Raises SettingsError for any that do not work."""
    certificate, key, ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if not certificate or not key:
        if certificate or key or ca:
            raise SettingsError("TLS takes both --tls-certificate and --tls-key, and --tls-client-ca only beside them")
        return None
    files = [certificate, key, ca] if ca else [certificate, key]
    return Reloaded(files, lambda: read_certificates(certificate, key, ca))


def read_certificates(certificate: Path, key: Path, client_ca: Path | None) -> Certificates:
    """The files' bytes. Raises SettingsError where they are missing, broken or do not belong together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # HTTP/2 forbids most of what 1.2 allows
    context.num_tickets = 0  # who resumes a session would not be asked for a certificate that is still good
    context.set_alpn_protocols(["h2"])
    found = Certificates(_bytes(certificate), _bytes(key), _bytes(client_ca) if client_ca else b"", context)
    try:
        context.load_cert_chain(certificate, key, password="")  # without one, OpenSSL would ask the terminal
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(
            f"{certificate}, {key}: not a PEM certificate with its unencrypted key ({error})"
        ) from error
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=found.client_ca.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise SettingsError(f"{client_ca}: not a PEM file of authorities ({error})") from error
    return found


def newest_context(certificates: Reloaded[Certificates]) -> ssl.SSLContext:
    """A context to listen with: each handshake takes the certificates that are in force then."""

    def take_newest(connection: ssl.SSLObject | ssl.SSLSocket, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = certificates.content.context

    first = certificates.content.context
    first.sni_callback = take_newest  # called for each client, also for one that names no server
    return first


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from error
