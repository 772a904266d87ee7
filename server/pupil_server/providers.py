"""From the name of a device to what ONNX Runtime is told. Nothing here opens a session.

Providers are always named one by one: ONNX Runtime's own list would let a graph slip to the CPU unseen.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
DEVICES = {provider: device for device, provider in PROVIDERS.items()}
SEARCHES = ("HEURISTIC", "EXHAUSTIVE", "DEFAULT")  # how cuDNN finds the algorithm of a convolution

# CUDA computes all of these on images; on the CPU they only work out shapes, and belong there.
SHAPE_ARITHMETIC = {
    *("Shape", "Size", "Gather", "Slice", "Concat", "Squeeze", "Unsqueeze", "Range", "ConstantOfShape"),
    *("Cast", "Add", "Sub", "Mul", "Div"),
}

Shape = tuple[int, int, int]  # height, width, channels
Options = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """What is asked of a GPU beyond computing."""

    graphs: bool = False  # record what each bucket does once, then replay it
    search: str = "auto"  # one of SEARCHES; auto: whichever is fastest on this graph
    engines: Path | None = None  # where TensorRT keeps what it has built


def best_device(available: Sequence[str], devices: Path = Path("/dev")) -> tuple[str, str]:
    """What `auto` means here, and why it is not CUDA, where a GPU or a build for one would make one expect that."""
    device, provider = any(devices.glob("nvidia[0-9]*")), PROVIDERS["cuda"] in available
    if device and provider:
        return "cuda", ""
    if device:
        return "cpu", "this build of ONNX Runtime has no CUDA provider; pip install 'pupil[cuda]' brings one"
    return "cpu", "no NVIDIA device is visible; --device cpu says that none is meant" if provider else ""


def buckets(device: str, max_batch: int) -> tuple[int, ...]:
    """The batch sizes that a device should see, ascending. Empty on a CPU, which takes any size as it comes.

    A GPU looks for algorithms, builds engines and records graphs by shape, so it sees few: powers of two, and
    the largest batch.
    """
    if device == "cpu":
        return ()
    return (*(1 << power for power in range((max_batch - 1).bit_length())), max_batch)


def providers(
    device: str, *, shape: Shape, max_batch: int, precision: str, gpu: Gpu, search: str
) -> list[tuple[str, Options]]:
    """The providers of a session, the first one foremost, with their options."""
    if device == "cpu":
        return [(PROVIDERS["cpu"], {})]
    cuda = (PROVIDERS["cuda"], cuda_options(gpu, search))
    if device == "cuda":
        return [cuda]
    return [(PROVIDERS["tensorrt"], tensorrt_options(shape, max_batch, precision, gpu)), cuda]


def cuda_options(gpu: Gpu, search: str) -> Options:
    return {
        "device_id": "0",
        "arena_extend_strategy": "kSameAsRequested",  # doubling would keep up to half of the memory for nothing
        "cudnn_conv_algo_search": search,
        "use_tf32": "0",  # it rounds fp32 to 10 bits, and certificates hold for the scores that were exported
        "enable_cuda_graph": str(int(gpu.graphs)),
    }


def tensorrt_options(shape: Shape, max_batch: int, precision: str, gpu: Gpu) -> Options:
    """One profile from 1 to `max_batch`: outside of it TensorRT would build again, in the middle of serving."""
    options = {
        "device_id": "0",
        "trt_profile_min_shapes": _profile(1, shape),
        "trt_profile_opt_shapes": _profile(max_batch, shape),
        "trt_profile_max_shapes": _profile(max_batch, shape),
        "trt_fp16_enable": str(int(precision == "fp16")),
        "trt_int8_enable": str(int(precision == "int8")),
        "trt_cuda_graph_enable": str(int(gpu.graphs)),
    }
    if gpu.engines:
        cache = str(gpu.engines)
        options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": cache}
        options |= {"trt_timing_cache_enable": "1", "trt_timing_cache_path": cache}
    return options


def _profile(count: int, shape: Shape) -> str:
    return "images:" + "x".join(str(side) for side in (count, *shape))


def misplaced(placed: Mapping[str, Iterable[str]], device: str) -> str:
    """What is wrong with where the nodes are, or nothing. `placed` has the operators on each device."""
    if device == "cpu":
        return ""
    strays = Counter(operator for operator in placed.get("cpu", ()) if operator not in SHAPE_ARITHMETIC)
    if strays:
        spelled = ", ".join(f"{count} {operator}" for operator, count in sorted(strays.items()))
        return f"these nodes would run on the CPU: {spelled}"
    return "" if placed.get(device) else f"no node would run on {device}"
