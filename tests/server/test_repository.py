"""Loading and swapping, without a server around it."""

import asyncio
import threading
import weakref
from pathlib import Path

import pytest

from pupil_proto.v1.inference_pb2 import ModelSpec
from pupil_proto.v1.models_pb2 import State
from pupil_server import transitions
from pupil_server.errors import BundleError, NotFound, NotPossible, Unavailable
from pupil_server.loading import prepare
from pupil_server.repository import Repository


@pytest.fixture
def folder(toolbox, tmp_path: Path) -> Path:
    """`student/1` alone."""
    toolbox.write_bundle(tmp_path / "models", "student", 1, seed=1)
    return tmp_path / "models"


# What is loaded at the start


@pytest.mark.parametrize(
    ("versions", "loaded"),
    [
        ((), ["student/12", "student/2"]),
        (("latest:2",), ["student/12", "student/2", "student/9"]),
        (("all",), ["student/1", "student/12", "student/2", "student/9"]),
        (("student=1,9",), ["student/1", "student/2", "student/9"]),
    ],
)
def test_the_policy_and_the_aliases_say_what_is_loaded(repositories, folder, toolbox, versions, loaded) -> None:
    for version in (2, 9, 12):
        toolbox.write_bundle(folder, "student", version)
    (folder / "student/aliases.json").write_text('{"stable": 2}')

    async def script(repository: Repository) -> None:
        assert repositories.ready(repository) == loaded
        assert repositories.answering(repository) == max(int(name.split("/")[1]) for name in loaded)

    repositories.run(folder, script, versions=versions)


def test_a_policy_that_wants_nothing_that_is_there_is_refused(repositories, folder) -> None:
    with pytest.raises(BundleError, match="--versions: no version of student is wanted; it has: 1"):
        repositories.run(folder, lambda repository: asyncio.sleep(0), versions=("student=7",))


def test_an_alias_for_a_version_that_is_not_there_is_refused(repositories, folder) -> None:
    (folder / "student/aliases.json").write_text('{"stable": 7}')
    with pytest.raises(BundleError, match="student: its alias 'stable' means version 7, which is not there"):
        repositories.run(folder, lambda repository: asyncio.sleep(0))


def test_a_version_that_cannot_be_taken_up_once_it_is_read_is_not_being_loaded_for_ever(
    repositories, folder, toolbox
) -> None:
    def full(model: object) -> None:
        raise OSError("no room for what is known of it")

    async def script(repository: Repository) -> None:
        toolbox.write_bundle(folder, "student", 2)
        repository.on_load(full)
        with pytest.raises(OSError, match="no room"):
            await repository.load("student", 2)
        assert repository.known()["student"][2].state == State.STATE_FAILED
        assert repositories.answering(repository) == 1
        repository.on_load(lambda model: None)
        await repository.load("student", 2)
        assert repositories.answering(repository) == 2

    repositories.run(folder, script)


def test_what_is_no_bundle_is_no_version(repositories, folder) -> None:
    huge = f"student/{10**18}"
    for name in ("student/2", "student/03", huge, "student/latest", "student/.2.4711", "half", ".hidden/1"):
        (folder / name).mkdir(parents=True)
    (folder / "student/03/bundle.json").write_text("{}")
    (folder / huge / "bundle.json").write_text("{}")
    (folder / ".hidden/1/bundle.json").write_text("{}")
    (folder / "README.md").write_text("hello")

    async def script(repository: Repository) -> None:
        assert repository.on_disk() == {"student": [1]}

    repositories.run(folder, script)


# Swapping


def test_a_version_on_trial_answers_beside_the_others_and_the_name_stays_where_it_is(
    repositories, folder, toolbox
) -> None:
    toolbox.write_bundle(folder, "student", 2)

    async def script(repository: Repository) -> None:
        await repository.load("student", 1)
        await repository.load("student", 2, aside=True)
        assert repositories.ready(repository) == ["student/1", "student/2"]
        assert repositories.answering(repository) == 1
        await repository.load("student", 2, keep_others=True)
        assert repositories.answering(repository) == 2

    repositories.run(folder, script)


def test_rolling_back_to_an_older_version_makes_it_answer_though_an_alias_keeps_the_newer_one(
    repositories, folder, toolbox
) -> None:
    toolbox.write_bundle(folder, "student", 2)
    (folder / "student/aliases.json").write_text('{"canary": 2}')

    async def script(repository: Repository) -> None:
        assert repositories.answering(repository) == 2
        await repository.load("student", 1)
        assert (repositories.answering(repository), repositories.ready(repository)) == (1, ["student/1", "student/2"])
        await repository.rescan()
        assert repositories.answering(repository) == 1  # nothing in the folder has changed: the operator's word holds
        await repository.unload("student", 1)
        assert repositories.answering(repository) == 2

    repositories.run(folder, script)


def test_a_drained_model_frees_its_session_once_the_last_caller_has_left(repositories, folder, toolbox) -> None:
    toolbox.write_bundle(folder, "student", 2)

    async def swap_with_a_caller_inside(repository: Repository) -> weakref.ref[object]:
        with repository.get(ModelSpec(name="student")) as model:
            load = asyncio.create_task(repository.load("student", 1))
            await repositories.until(lambda: model.retired)
            assert not load.done()  # it waits for whoever is inside
            with pytest.raises(Unavailable, match="student/2 was unloaded"), model:
                pass
        await load
        return weakref.ref(model.session)

    async def script(repository: Repository) -> None:
        session = await swap_with_a_caller_inside(repository)
        assert session() is None  # now: the collector of cycles may come a dozen models later

    repositories.run(folder, script)


def test_a_caller_who_hangs_up_during_the_drain_leaves_nothing_behind(repositories, folder, toolbox) -> None:
    toolbox.write_bundle(folder, "student", 2)

    async def script(repository: Repository) -> None:
        with repository.get(ModelSpec(name="student")) as model:
            load = asyncio.create_task(repository.load("student", 1))
            await repositories.until(lambda: model.retired)
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
            assert repository.known()["student"][2].state == State.STATE_UNLOADING
            unload = asyncio.create_task(repository.unload("student"))  # joins the drain that goes on
            await repositories.until(lambda: repository.known()["student"][1].state == State.STATE_UNLOADED)
            again = asyncio.create_task(repository.load("student", 2))
            assert not unload.done()
        await unload
        await again
        assert (repositories.answering(repository), repositories.ready(repository)) == (2, ["student/2"])

    repositories.run(folder, script)


def test_a_load_that_is_given_up_says_so_and_can_be_asked_for_again(repositories, folder, toolbox, monkeypatch) -> None:
    toolbox.write_bundle(folder, "student", 2)
    begun, go_on = threading.Event(), threading.Event()

    def slow_prepare(*arguments):
        begun.set()
        go_on.wait(timeout=30)
        return prepare(*arguments)

    async def script(repository: Repository) -> None:
        monkeypatch.setattr(transitions, "prepare", slow_prepare)
        load = asyncio.create_task(repository.load("student", 1))
        await asyncio.to_thread(begun.wait, 30)
        assert repository.known()["student"][1].state == State.STATE_LOADING
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
        go_on.set()
        failed = repository.known()["student"][1]
        assert (failed.state, "ran out of time; ask again" in failed.reason) == (State.STATE_FAILED, True)
        await repository.load("student", 1)
        assert repositories.answering(repository) == 1

    repositories.run(folder, script)


def test_a_reason_does_not_tell_where_the_repository_lies(repositories, folder, toolbox) -> None:
    (toolbox.write_bundle(folder, "student", 2) / "model.onnx").write_bytes(b"no graph")

    async def script(repository: Repository) -> None:
        with pytest.raises(BundleError):
            await repository.load("student", 2)
        reason = repository.known()["student"][2].reason
        assert reason.startswith("student/2/model.onnx: changed since it was exported")
        assert repositories.ready(repository) == ["student/1"]

    repositories.run(folder, script, versions=("1",))


def test_an_alias_that_the_full_disk_does_not_take_is_not_set_and_the_old_file_stays(
    repositories, folder, toolbox
) -> None:
    async def script(repository: Repository) -> None:
        await repository.set_alias("student", "stable", 1)
        with (
            toolbox.files_no_larger_than(10),
            pytest.raises(NotPossible, match=r"cannot be written \(File too large\)"),
        ):
            await repository.set_alias("student", "another", 1)
        assert repository.aliases("student") == {"stable": 1}
        assert (folder / "student/aliases.json").read_text() == '{"stable": 1}\n'
        assert sorted(file.name for file in (folder / "student").iterdir()) == ["1", "aliases.json"]
        with pytest.raises(NotFound):
            repository.get(ModelSpec(name="student", alias="another"))

    repositories.run(folder, script)
