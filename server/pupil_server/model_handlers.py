"""List, Get, Load, Unload and SetAlias."""

import logging

from pupil_proto.v1 import models_pb2 as pb
from pupil_server.call import Call
from pupil_server.certificates import certificate_message
from pupil_server.errors import BundleError, NotPossible
from pupil_server.model import LoadedModel
from pupil_server.repository import Repository
from pupil_server.transitions import Version

log = logging.getLogger("pupil.models")  # names from the wire go in as %r: a newline in one would forge a line


class ModelHandlers:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def list(self, request: pb.ListModelsRequest, call: Call) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(
            models=[
                self._info(version) for versions in self._repository.known().values() for version in versions.values()
            ]
        )

    async def get(self, request: pb.GetModelRequest, call: Call) -> pb.ModelInfo:
        return self._loaded(self._repository.get(request.model))

    async def load(self, request: pb.LoadModelRequest, call: Call) -> pb.ModelInfo:
        log.info("load %.200r/%s for %s", request.name, request.version or "newest", call.peer)
        try:
            return self._loaded(
                await self._repository.load(
                    request.name, request.version, keep_others=request.keep_others, aside=request.aside
                )
            )
        except BundleError as error:
            raise NotPossible(self._repository.spell(error)) from error

    async def unload(self, request: pb.UnloadModelRequest, call: Call) -> pb.UnloadModelResponse:
        log.info("unload %.200r/%s for %s", request.name, request.version or "all", call.peer)
        await self._repository.unload(request.name, request.version)
        return pb.UnloadModelResponse()

    async def set_alias(self, request: pb.SetAliasRequest, call: Call) -> pb.SetAliasResponse:
        log.info(
            "alias %.200r of %.200r to %s for %s", request.alias, request.name, request.version or "nothing", call.peer
        )
        await self._repository.set_alias(request.name, request.alias, request.version)
        return pb.SetAliasResponse()

    def _loaded(self, model: LoadedModel) -> pb.ModelInfo:
        return self._info(Version(model.facts.model, model.facts.version, pb.STATE_READY, model=model))

    def _info(self, version: Version) -> pb.ModelInfo:
        name, number = version.name, version.number
        info = pb.ModelInfo(name=name, version=number, state=version.state, reason=version.reason)
        try:
            info.aliases.extend(sorted(a for a, target in self._repository.aliases(name).items() if target == number))
        except BundleError as error:
            info.reason = info.reason or self._repository.spell(error)
        info.by_name = number == self._repository.means(name)
        if version.model:
            _describe(version.model, info)
        return info


def _describe(model: LoadedModel, info: pb.ModelInfo) -> None:
    """Writes the facts of a loaded model into `info`."""
    facts = model.facts
    info.classes.extend(facts.classes)
    info.height, info.width, info.channels = facts.input.shape
    info.precision, info.device, info.fingerprint = facts.precision, model.session.device, facts.fingerprint
    info.teacher = facts.teacher.name if facts.teacher else ""
    info.certificates.extend(certificate_message(certificate) for certificate in model.bundle.certificates)
    info.created, info.max_batch_images = facts.created, model.max_batch
    info.nodes.update(model.session.nodes)
    info.precisions.extend(model.precisions)
