"""Opens a session of ONNX Runtime that is where it was told to be, or does not open it."""

import contextlib
import sys
from collections import defaultdict
from pathlib import Path

import onnxruntime as ort

from pupil_server.errors import BundleError
from pupil_server.processor import int8_overflows
from pupil_server.providers import DEVICES, PROVIDERS, Options, Shape, misplaced

WATCHED = "session.record_ep_graph_assignment_info"
ERROR, FATAL = 3, 4  # of what it writes by itself


def available() -> list[str]:
    """The providers of this build; another question is whether what they need is there."""
    names: list[str] = ort.get_available_providers()
    return names


def open_session(
    graph: Path, device: str, named: list[tuple[str, Options]], *, threads: int, shape: Shape, max_batch: int
) -> ort.InferenceSession:
    """A session over `graph` with the providers `named` and no others. Raises BundleError."""
    if PROVIDERS[device] not in available():
        extra = "cuda" if device == "tensorrt" else device
        raise BundleError(
            f"--device {device}: this build of ONNX Runtime has no {PROVIDERS[device]}; pip install 'pupil[{extra}]'"
        )
    if device != "cpu":
        ort.set_default_logger_severity(ERROR)  # if a library is missing, its lines name it
        with contextlib.redirect_stdout(sys.stderr):  # it prints; standard output is for data
            ort.preload_dlls()  # those that were installed as packages, where no system has them
    try:
        # Bytes, not the path: a graph cannot then refer to files outside the bundle.
        options = _options(device, threads)
        session = ort.InferenceSession(graph.read_bytes(), options, providers=named, enable_fallback=0)
    except Exception as error:  # the runtime raises its own types, all of them RuntimeError's kin or not
        raise BundleError(f"{graph}: ONNX Runtime refuses it on {device}: {error}") from error
    if session.get_providers()[0] != PROVIDERS[device]:
        raise BundleError(
            f"--device {device}: ONNX Runtime fell back to {session.get_providers()[0]}: a library or a driver is "
            f"missing, which its own lines above this one name; pip install 'pupil[cuda]' brings the libraries"
        )
    if wrong := misplaced(placement(session), device):
        raise BundleError(f"{graph}: --device {device}: {wrong}; serve it with --device cpu, or auto")
    _check_shape(graph, session, shape, max_batch)
    if device != "cpu":
        ort.set_default_logger_severity(FATAL)  # what fails raises; plans that cuDNN has not end in another plan
    return session


def placement(session: ort.InferenceSession) -> dict[str, list[str]]:
    """The operators on each device, of the graph as it was when it was divided between them."""
    placed: dict[str, list[str]] = defaultdict(list)
    for part in session.get_provider_graph_assignment_info():
        placed[DEVICES.get(part.ep_name, part.ep_name)] += [node.op_type for node in part.get_nodes()]
    return dict(placed)


def _options(device: str, threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads if device == "cpu" else 1  # its own guess ignores a container's limits
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle cores must idle
    options.add_session_config_entry(WATCHED, "1")
    if int8_overflows():
        options.add_session_config_entry("session.x64quantprecision", "1")  # exact, and slower
    # A pattern is kept for every batch size that was ever seen: memory would grow with each new one.
    options.enable_mem_pattern = device != "cpu"
    return options


def _check_shape(graph: Path, session: ort.InferenceSession, shape: Shape, max_batch: int) -> None:
    """The graph takes uint8 N×H×W×C images, N free or just `max_batch`, and gives logits and scores."""
    inputs = {value.name: (value.type, value.shape) for value in session.get_inputs()}
    outputs = {value.name for value in session.get_outputs()}
    kind, found = inputs.get("images", ("nothing", []))
    if len(inputs) != 1 or kind != "tensor(uint8)" or found[1:] != [*shape]:
        wanted = "×".join(str(side) for side in shape)
        raise BundleError(f"{graph}: takes {inputs}, wanted uint8 images N×{wanted}; export it again")
    if isinstance(found[0], int) and found[0] != max_batch:
        raise BundleError(f"{graph}: takes exactly {found[0]} images, wanted a dynamic batch; export it again")
    if not {"logits", "scores"} <= outputs:
        raise BundleError(f"{graph}: gives {sorted(outputs)}, wanted logits and scores; export it again")
