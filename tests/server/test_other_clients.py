"""Clients that nobody here wrote, each where it is installed: curl, nghttp, h2load, grpcurl, and Node's grpc-js."""

import base64
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToJson

from pupil_proto.v1 import inference_pb2 as pb

CLASSIFY = "/pupil.v1.Inference/Classify"
HEADERS = ("-H", "content-type: application/grpc", "-H", "te: trailers")
PROTO = Path(__file__).parents[2] / "proto"
PATIENCE = 60

# Loads the contract with @grpc/proto-loader, asks a call, a stream of calls, and one that fails, and tells what came.
NODE = """
const grpc = require('@grpc/grpc-js'), loader = require('@grpc/proto-loader')
const [address, folder, image] = process.argv.slice(1)
const options = {keepCase: true, longs: Number, includeDirs: [folder]}
const contract = grpc.loadPackageDefinition(loader.loadSync('pupil_proto/v1/inference.proto', options))
const client = new contract.pupil.v1.Inference(address, grpc.credentials.createInsecure())
const deadline = () => ({deadline: Date.now() + 20000})
const request = {model: {name: 'student'}, images: {encoded: [Buffer.from(image, 'base64')]}}
client.classify(request, deadline(), (error, answer) => {
  if (error) throw error
  const told = {unary: answer.predictions[0].top[0].index, stream: []}
  const stream = client.classifyStream(deadline())
  stream.on('data', each => told.stream.push(each.predictions[0].top[0].index))
  stream.on('end', () => client.classify({model: {name: 'nobody'}}, deadline(), refused => {
    console.log(JSON.stringify({...told, code: refused.code}))
    client.close()
  }))
  for (let i = 0; i < 100; i++) stream.write(request)
  stream.end()
})
"""


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"no {program}")


def has_grpc_js() -> bool:
    """Node finds it in the folders of NODE_PATH."""
    found = ["node", "-e", "require('@grpc/grpc-js'), require('@grpc/proto-loader')"]
    return shutil.which("node") is not None and subprocess.run(found, capture_output=True).returncode == 0


def output(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture
def request_file(toolbox, tmp_path: Path) -> Path:
    """A call's body, as it goes over the wire."""
    images = pb.Images(encoded=[toolbox.png(toolbox.random_pixels(1, seed=7)[0])])
    message = pb.ClassifyRequest(model=pb.ModelSpec(name="student"), images=images).SerializeToString()
    file = tmp_path / "request"
    file.write_bytes(struct.pack(">BI", 0, len(message)) + message)
    return file


@needs("curl")
def test_curl_is_answered_without_an_upgrade(server, stubs, request_file: Path, tmp_path: Path) -> None:
    answer, headers = tmp_path / "answer", tmp_path / "headers"
    url = f"http://{server.address}{CLASSIFY}"
    to = ("-o", str(answer), "-D", str(headers), "--data-binary", f"@{request_file}")
    output("curl", "-s", "--http2-prior-knowledge", *HEADERS, *to, url)
    flag, size = struct.unpack(">BI", answer.read_bytes()[:5])
    found = pb.ClassifyResponse.FromString(answer.read_bytes()[5:])
    asked = pb.ClassifyRequest.FromString(request_file.read_bytes()[5:])
    assert (flag, size) == (0, len(answer.read_bytes()) - 5)
    assert found.predictions == stubs.inference.Classify(asked, timeout=PATIENCE).predictions
    assert "grpc-status: 0" in headers.read_text()


@needs("nghttp")
def test_nghttp_sees_an_answer_and_its_trailers(server, request_file: Path) -> None:
    frames = output("nghttp", "-v", "-d", str(request_file), *HEADERS, f"http://{server.address}{CLASSIFY}")
    assert re.search(r"recv \(stream_id=\d+\) :status: 200", frames)
    assert re.search(r"recv \(stream_id=\d+\) grpc-status: 0", frames)


@needs("h2load")
@pytest.mark.parametrize("in_flight", [1, 8, 64])
def test_h2load_loses_no_request(server, request_file: Path, in_flight: int) -> None:
    how = ("-n", "640", "-c", "2", "-m", str(in_flight), "-d", str(request_file))
    told = output("h2load", *how, *HEADERS, f"http://{server.address}{CLASSIFY}")
    assert "640 done, 640 succeeded, 0 failed, 0 errored, 0 timeout" in told
    assert "status codes: 640 2xx" in told


@needs("grpcurl")
def test_grpcurl_finds_its_way_by_reflection_alone(server, stubs, request_file: Path) -> None:
    asked = pb.ClassifyRequest.FromString(request_file.read_bytes()[5:])
    best = stubs.inference.Classify(asked, timeout=PATIENCE).predictions[0].top[0].label
    plain = ("grpcurl", "-plaintext", "-max-time", str(PATIENCE))
    assert "pupil.v1.Inference" in output(*plain, server.address, "list")
    assert "rpc Classify" in output(*plain, server.address, "describe", "pupil.v1.Inference.Classify")
    told = output(*plain, "-d", MessageToJson(asked), server.address, "pupil.v1.Inference/Classify")
    assert json.loads(told)["predictions"][0]["top"][0]["label"] == best


@pytest.mark.skipif(not has_grpc_js(), reason="no node, or NODE_PATH holds no @grpc/grpc-js")
def test_node_is_answered_by_every_kind_of_call(server, stubs, request_file: Path) -> None:
    asked = pb.ClassifyRequest.FromString(request_file.read_bytes()[5:])
    image = base64.b64encode(asked.images.encoded[0]).decode()
    best = stubs.inference.Classify(asked, timeout=PATIENCE).predictions[0].top[0].index
    told = json.loads(output("node", "-e", NODE, server.address, str(PROTO), image))
    assert told == {"unary": best, "stream": [best] * 100, "code": 5}  # NOT_FOUND
