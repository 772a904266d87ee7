"""What reflection shows: every service under the name that it has on the wire.

The protocol's messages are compiled under a package of ours, so that they can share a process with another client's.
Their descriptors are renamed in a pool of reflection's own: in the default pool they would collide.
"""

from typing import Any, cast

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToJson, Parse

from pupil_proto.oip.v2.service_pb2 import DESCRIPTOR as OIP


def descriptor_pool(*files: FileDescriptor) -> DescriptorPool:
    """A pool of `files` and all that they import, and of the protocol's as package `inference`."""
    ours = [FileDescriptorProto.FromString(file.serialized_pb) for file in _with_imports(*files)]
    theirs = [_renamed(file, OIP.package, "inference") for file in _with_imports(OIP)]
    pool = DescriptorPool()
    for file in (*ours, *theirs):
        pool.AddSerializedFile(file.SerializeToString())  # type: ignore[no-untyped-call]
    return cast(DescriptorPool, _MethodsToo(pool))


class _MethodsToo:
    """A pool that finds the file of a method as well: `grpcurl describe` asks so, and protobuf's own pool does not."""

    def __init__(self, pool: Any) -> None:  # which has no types
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # protobuf's name
        try:
            return cast(FileDescriptor, self._pool.FindFileContainingSymbol(symbol))
        except KeyError:
            return cast(FileDescriptor, self._pool.FindMethodByName(symbol).containing_service.file)


def _with_imports(*files: FileDescriptor) -> list[FileDescriptor]:
    """Each file once, behind those that it imports."""
    found: dict[str, FileDescriptor] = {}
    for file in files:
        for one in (*_with_imports(*file.dependencies), file):
            found.setdefault(one.name, one)
    return list(found.values())


def _renamed(file: FileDescriptor, package: str, to: str) -> FileDescriptorProto:
    """Types are named from a leading dot on: `.package.Type`."""
    text = MessageToJson(FileDescriptorProto.FromString(file.serialized_pb))
    return Parse(text.replace(f'".{package}.', f'".{to}.').replace(f'"{package}"', f'"{to}"'), FileDescriptorProto())
