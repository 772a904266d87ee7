"""The layers of a net in the order in which transfer thinks of them: what learns, from the input to the head."""

from torch import nn

from pupil_training.errors import RecipeError


def head(net: nn.Module) -> nn.Module:
    """The last layer that learns. Raises RecipeError where none does."""
    learning = [layer for layer in net.modules() if next(layer.parameters(recurse=False), None) is not None]
    if not learning:
        raise RecipeError(f"{type(net).__name__} has no layer that learns, so there are no weights to take over")
    return learning[-1]


def stages(net: nn.Module) -> list[nn.Module]:
    """The layers or blocks that learn, from the input to the head; what holds the head is opened, a block is not."""
    found: list[nn.Module] = []
    if own := list(net.parameters(recurse=False)):
        found.append(nn.ParameterList(own))  # as a transformer's class token
    for child in net.children():
        if child is not head(net) and head(net) in list(child.modules()):
            found += stages(child)
        elif next(child.parameters(), None) is not None:
            found.append(child)
    return found


def without_head(net: nn.Module) -> nn.Module:
    """The net itself, changed to give what its head would have taken."""
    last = head(net)
    name = next(name for name, layer in net.named_modules() if layer is last)
    net.set_submodule(name, nn.Identity())
    return net
