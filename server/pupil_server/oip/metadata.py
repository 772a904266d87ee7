"""Who is there and what it takes: the calls that a client makes before its first request."""

from collections.abc import Callable
from importlib.metadata import version

from pupil_proto.oip.v2 import config_pb2
from pupil_proto.oip.v2 import service_pb2 as pb
from pupil_server.call import Call
from pupil_server.errors import BundleError, PupilError
from pupil_server.model import LoadedModel
from pupil_server.oip.names import IMAGES, OUTPUTS, model_spec
from pupil_server.repository import Repository

EXTENSIONS = (
    "classification",
    "model_repository",
    "model_configuration",
    "schedule_policy",
    "statistics",
    "parameters",
)
PLATFORM, BACKEND = "onnxruntime_onnx", "onnxruntime"  # as Triton names the same kind of model


class MetadataHandlers:
    def __init__(self, repository: Repository, is_ready: Callable[[str], bool | None]) -> None:
        self._repository = repository
        self._is_ready = is_ready
        self._server = pb.ServerMetadataResponse(name="pupil", version=version("pupil"), extensions=EXTENSIONS)

    async def server_live(self, request: pb.ServerLiveRequest, call: Call) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)  # a server that is not does not answer

    async def server_ready(self, request: pb.ServerReadyRequest, call: Call) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=bool(self._is_ready("")))

    async def model_ready(self, request: pb.ModelReadyRequest, call: Call) -> pb.ModelReadyResponse:
        """A model that nobody knows is not ready, which is no error here."""
        spec = model_spec(request.name, request.version)
        try:
            self._repository.get(spec)
        except PupilError:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=bool(self._is_ready("")))

    async def server_metadata(self, request: pb.ServerMetadataRequest, call: Call) -> pb.ServerMetadataResponse:
        return self._server

    async def model_metadata(self, request: pb.ModelMetadataRequest, call: Call) -> pb.ModelMetadataResponse:
        model = self._repository.get(model_spec(request.name, request.version))
        tensor = pb.ModelMetadataResponse.TensorMetadata
        numbers = sorted(version.facts.version for version in self._repository.loaded(request.name))
        return pb.ModelMetadataResponse(
            name=model.facts.model,
            versions=[str(number) for number in numbers],
            platform=PLATFORM,
            inputs=[tensor(name=IMAGES, datatype="UINT8", shape=[-1, *model.facts.input.shape])],
            outputs=[tensor(name=name, datatype="FP32", shape=[-1, len(model.facts.classes)]) for name in OUTPUTS],
            properties=self._properties(model),
        )

    async def model_config(self, request: config_pb2.ModelConfigRequest, call: Call) -> config_pb2.ModelConfigResponse:
        model = self._repository.get(model_spec(request.name, request.version))
        return config_pb2.ModelConfigResponse(config=_config(model))

    def _properties(self, model: LoadedModel) -> dict[str, str]:
        """What the protocol has no field for. Aliases stand here because its versions must be whole numbers."""
        try:
            aliases = self._repository.aliases(model.facts.model)
        except BundleError:  # a broken aliases.json: told by Models.List, and no reason to hide the rest
            aliases = {}
        return {
            "fingerprint": model.facts.fingerprint,
            "precision": model.facts.precision,
            "device": model.session.device,
            "aliases": ",".join(sorted(alias for alias, number in aliases.items() if number == model.facts.version)),
        }


def _config(model: LoadedModel) -> config_pb2.ModelConfig:
    c = config_pb2
    return c.ModelConfig(
        name=model.facts.model,
        platform=PLATFORM,
        backend=BACKEND,
        max_batch_size=model.max_batch,
        input=[
            c.ModelInput(
                name=IMAGES,
                data_type=c.TYPE_UINT8,
                format=c.ModelInput.FORMAT_NHWC,
                dims=model.facts.input.shape,
            )
        ],
        output=[c.ModelOutput(name=name, data_type=c.TYPE_FP32, dims=[len(model.facts.classes)]) for name in OUTPUTS],
        dynamic_batching=c.ModelDynamicBatching(),
        default_model_filename="model.onnx",
        model_transaction_policy=c.ModelTransactionPolicy(decoupled=False),
    )
