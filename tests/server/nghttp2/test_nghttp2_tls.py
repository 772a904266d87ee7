"""TLS on the lean front, beside what tests/server/test_tls.py asks of every front."""

import asyncio
import ssl
from pathlib import Path

import grpc.aio
import pytest
import trustme

from pupil_proto.v1 import models_pb2 as pb
from pupil_server.tls import read_certificates


@pytest.fixture
def served(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """What the server listens with, and the file of the authority that it can be trusted by."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key, trusted = tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "ca.crt"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(trusted)
    return read_certificates(certificate, key, None).context, trusted


def test_who_asks_for_h2_gets_the_answer_to_a_message_of_many_records(tools, served) -> None:
    context, trusted = served
    large = pb.UnloadModelRequest(name="x" * 3_000_000).SerializeToString()

    async def test() -> None:
        async with tools.lean(tls=context) as lean:
            credentials = grpc.ssl_channel_credentials(trusted.read_bytes())
            async with grpc.aio.secure_channel(f"127.0.0.1:{lean.port}", credentials) as channel:
                assert await channel.unary_unary("/test.Echo/One")(large, timeout=20) == large

    asyncio.run(asyncio.wait_for(test(), 60))


def test_who_does_not_ask_for_h2_is_hung_up_on(tools, served) -> None:
    context, trusted = served

    async def test() -> None:
        async with tools.lean(tls=context) as lean:
            peer = await lean.connect(ssl=ssl.create_default_context(cafile=trusted), hello=False)
            await peer.end()
            assert not peer.answers

    asyncio.run(asyncio.wait_for(test(), 60))
