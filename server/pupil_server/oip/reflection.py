"""What reflection shows: every service under the name that it has on the wire.

The protocol's messages are compiled under a package of ours, so that they can share a process with another client's.
Their descriptors are renamed in a pool of reflection's own: in the default pool they would collide.
"""

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
    return pool


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
