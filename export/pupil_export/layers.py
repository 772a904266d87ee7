"""Where the net lies in an exported graph: from its first layer with weights to its last."""

from collections.abc import Iterable, Sequence

from onnx import GraphProto, NodeProto

LAYERS = ("Conv", "Gemm", "MatMul")


def layers(graph: GraphProto) -> list[str]:
    """The names of the nodes that multiply with weights, first to last."""
    return [node.name for node in graph.node if node.op_type in LAYERS]


def outside(graph: GraphProto) -> list[str]:
    """The names of the nodes that do not lie between two layers: normalisation before them, softmax after them."""
    nodes: Sequence[NodeProto] = graph.node  # in an order in which each comes after those that it reads
    after = _reached((node, node.input, node.output) for node in nodes)
    before = _reached((node, node.output, node.input) for node in reversed(nodes))
    inside = {*layers(graph), *(after & before)}
    return [node.name for node in nodes if node.name not in inside]


def _reached(steps: Iterable[tuple[NodeProto, Iterable[str], Iterable[str]]]) -> set[str]:
    """The names of the nodes that a path from a layer leads to; each step names where it comes from and leads to."""
    tensors: set[str] = set()
    names: set[str] = set()
    for node, come_from, lead_to in steps:
        if not tensors.isdisjoint(come_from):
            names.add(node.name)
        if node.name in names or node.op_type in LAYERS:
            tensors.update(lead_to)
    return names
