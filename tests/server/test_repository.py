"""Loading, swapping and following the folder, without a server around it."""

import asyncio
import os
import shutil
import threading
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pupil_proto.v1.inference_pb2 import ModelSpec
from pupil_proto.v1.models_pb2 import State
from pupil_server import transitions
from pupil_server.decoding import Decoder
from pupil_server.errors import BundleError, NotFound, NotWritable, Unavailable
from pupil_server.images import Limits
from pupil_server.loading import prepare
from pupil_server.metrics import Metrics
from pupil_server.repository import Repository
from pupil_server.settings import ServerSettings
from pupil_server.watching import watch

Script = Callable[[Repository], Awaitable[None]]


@pytest.fixture
def folder(toolbox, tmp_path: Path) -> Path:
    """`student/1` alone."""
    toolbox.write_bundle(tmp_path / "models", "student", 1, seed=1)
    return tmp_path / "models"


def run(folder: Path, script: Script, **settings: object) -> None:
    """`script` over a repository whose models are loaded."""

    async def whole() -> None:
        metrics = Metrics()
        decoder = Decoder(Limits(1_000_000, 1_000_000), threads=1, metrics=metrics)
        chosen = ServerSettings(repository=folder, device="cpu", **{"drain_grace": 5.0, **settings})  # type: ignore[arg-type]
        repository = Repository(chosen, decoder, metrics)
        try:
            for name in repository.on_disk():
                await repository.load_at_start(name)
            await asyncio.wait_for(script(repository), timeout=30)
        finally:
            await repository.close()
            decoder.close()

    asyncio.run(whole())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  `run` ends it after 30 s
        await asyncio.sleep(0.001)


def ready(repository: Repository) -> list[str]:
    return sorted(str(model) for model in repository.loaded())


def answering(repository: Repository, name: str = "student") -> int:
    return repository.get(ModelSpec(name=name)).facts.version


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
def test_the_policy_and_the_aliases_say_what_is_loaded(folder, toolbox, versions, loaded) -> None:
    for version in (2, 9, 12):
        toolbox.write_bundle(folder, "student", version)
    (folder / "student/aliases.json").write_text('{"stable": 2}')

    async def script(repository: Repository) -> None:
        assert ready(repository) == loaded
        assert answering(repository) == max(int(name.split("/")[1]) for name in loaded)

    run(folder, script, versions=versions)


def test_a_policy_that_wants_nothing_that_is_there_is_refused(folder) -> None:
    with pytest.raises(BundleError, match="--versions: no version of student is wanted; it has: 1"):
        run(folder, lambda repository: asyncio.sleep(0), versions=("student=7",))


def test_an_alias_for_a_version_that_is_not_there_is_refused(folder) -> None:
    (folder / "student/aliases.json").write_text('{"stable": 7}')
    with pytest.raises(BundleError, match="student: its alias 'stable' means version 7, which is not there"):
        run(folder, lambda repository: asyncio.sleep(0))


def test_what_is_no_bundle_is_no_version(folder) -> None:
    for name in ("student/2", "student/03", "student/latest", "student/.2.4711", "half", ".hidden/1"):
        (folder / name).mkdir(parents=True)
    (folder / "student/03/bundle.json").write_text("{}")
    (folder / ".hidden/1/bundle.json").write_text("{}")
    (folder / "README.md").write_text("hello")

    async def script(repository: Repository) -> None:
        assert repository.on_disk() == {"student": [1]}

    run(folder, script)


# Swapping


def test_a_version_on_trial_answers_beside_the_others_and_the_name_stays_where_it_is(folder, toolbox) -> None:
    toolbox.write_bundle(folder, "student", 2)

    async def script(repository: Repository) -> None:
        await repository.load("student", 1)
        await repository.load("student", 2, aside=True)
        assert ready(repository) == ["student/1", "student/2"]
        assert answering(repository) == 1
        await repository.load("student", 2, keep_others=True)
        assert answering(repository) == 2

    run(folder, script)


def test_rolling_back_to_an_older_version_makes_it_answer_though_an_alias_keeps_the_newer_one(folder, toolbox) -> None:
    toolbox.write_bundle(folder, "student", 2)
    (folder / "student/aliases.json").write_text('{"canary": 2}')

    async def script(repository: Repository) -> None:
        assert answering(repository) == 2
        await repository.load("student", 1)
        assert (answering(repository), ready(repository)) == (1, ["student/1", "student/2"])
        await repository.rescan()
        assert answering(repository) == 1  # nothing in the folder has changed: the operator's word holds
        await repository.unload("student", 1)
        assert answering(repository) == 2

    run(folder, script)


def test_a_drained_model_frees_its_session_once_the_last_caller_has_left(folder, toolbox) -> None:
    toolbox.write_bundle(folder, "student", 2)

    async def swap_with_a_caller_inside(repository: Repository) -> weakref.ref[object]:
        with repository.use(ModelSpec(name="student")) as model:
            load = asyncio.create_task(repository.load("student", 1))
            await until(lambda: model.retired)
            assert not load.done()  # it waits for whoever is inside
            with pytest.raises(Unavailable, match="student/2 was unloaded"), model.hold():
                pass
        await load
        return weakref.ref(model.session)

    async def script(repository: Repository) -> None:
        session = await swap_with_a_caller_inside(repository)
        assert session() is None  # now: the collector of cycles may come a dozen models later

    run(folder, script)


def test_a_caller_who_hangs_up_during_the_drain_leaves_nothing_behind(folder, toolbox) -> None:
    toolbox.write_bundle(folder, "student", 2)

    async def script(repository: Repository) -> None:
        with repository.use(ModelSpec(name="student")) as model:
            load = asyncio.create_task(repository.load("student", 1))
            await until(lambda: model.retired)
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
            assert repository.known()["student"][2].state == State.STATE_UNLOADING
            unload = asyncio.create_task(repository.unload("student"))  # joins the drain that goes on
            await until(lambda: repository.known()["student"][1].state == State.STATE_UNLOADED)
            again = asyncio.create_task(repository.load("student", 2))
            assert not unload.done()
        await unload
        await again
        assert (answering(repository), ready(repository)) == (2, ["student/2"])

    run(folder, script)


def test_a_load_that_is_given_up_says_so_and_can_be_asked_for_again(folder, toolbox, monkeypatch) -> None:
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
        assert answering(repository) == 1

    run(folder, script)


def test_a_reason_does_not_tell_where_the_repository_lies(folder, toolbox) -> None:
    (toolbox.write_bundle(folder, "student", 2) / "model.onnx").write_bytes(b"no graph")

    async def script(repository: Repository) -> None:
        with pytest.raises(BundleError):
            await repository.load("student", 2)
        reason = repository.known()["student"][2].reason
        assert reason.startswith("student/2/model.onnx: changed since it was exported")
        assert ready(repository) == ["student/1"]

    run(folder, script, versions=("1",))


def test_an_alias_that_the_full_disk_does_not_take_is_not_set_and_the_old_file_stays(folder, toolbox) -> None:
    async def script(repository: Repository) -> None:
        await repository.set_alias("student", "stable", 1)
        with (
            toolbox.files_no_larger_than(10),
            pytest.raises(NotWritable, match=r"cannot be written \(File too large\)"),
        ):
            await repository.set_alias("student", "another", 1)
        assert repository.aliases("student") == {"stable": 1}
        assert (folder / "student/aliases.json").read_text() == '{"stable": 1}\n'
        assert sorted(file.name for file in (folder / "student").iterdir()) == ["1", "aliases.json"]
        with pytest.raises(NotFound):
            repository.get(ModelSpec(name="student", alias="another"))

    run(folder, script)


# Following the folder


def test_a_rescan_takes_up_new_versions_and_new_models_and_lets_go_of_deleted_ones(folder, toolbox) -> None:
    async def script(repository: Repository) -> None:
        toolbox.write_bundle(folder, "student", 2)
        toolbox.write_bundle(folder, "teacher", 1)
        await repository.rescan()
        assert ready(repository) == ["student/2", "teacher/1"]
        shutil.rmtree(folder / "teacher")
        shutil.rmtree(folder / "student/2")
        await repository.rescan()
        assert (ready(repository), answering(repository)) == (["student/1"], 1)

    run(folder, script)


def test_only_the_models_that_were_named_are_followed(folder, toolbox) -> None:
    async def script(repository: Repository) -> None:
        toolbox.write_bundle(folder, "teacher", 1)
        await repository.rescan()
        assert ready(repository) == ["student/1"]

    run(folder, script, models=("student",))


def test_a_policy_of_two_newest_follows_the_folder(folder, toolbox) -> None:
    async def script(repository: Repository) -> None:
        for version, loaded in ((2, ["student/1", "student/2"]), (3, ["student/2", "student/3"])):
            toolbox.write_bundle(folder, "student", version)
            await repository.rescan()
            assert ready(repository) == loaded

    run(folder, script, versions=("latest:2",))


def test_a_version_that_failed_is_tried_again_only_once_its_folder_has_changed(folder, toolbox, caplog) -> None:
    async def script(repository: Repository) -> None:
        graph = toolbox.write_bundle(folder, "student", 2) / "model.onnx"
        whole = graph.read_bytes()
        graph.write_bytes(whole[:-1])
        for _ in range(3):
            await repository.rescan()
        assert caplog.text.count("student/2 is not loaded: student/2/model.onnx: changed") == 1
        assert repository.known()["student"][2].state == State.STATE_FAILED
        assert answering(repository) == 1
        graph.write_bytes(whole)
        await repository.rescan()
        assert answering(repository) == 2

    run(folder, script)


def test_a_version_that_was_unloaded_by_hand_does_not_come_back_by_itself(folder, toolbox) -> None:
    async def script(repository: Repository) -> None:
        await repository.unload("student")
        await repository.rescan()
        assert ready(repository) == []
        toolbox.write_bundle(folder, "student", 2)
        await repository.rescan()
        assert ready(repository) == ["student/2"]

    run(folder, script)


def test_the_last_version_that_answers_stays_though_its_folder_is_gone(folder, toolbox) -> None:
    async def script(repository: Repository) -> None:
        (toolbox.write_bundle(folder, "student", 2) / "golden/0.png").unlink()
        shutil.rmtree(folder / "student/1")
        for _ in range(2):
            await repository.rescan()
        assert answering(repository) == 1

    run(folder, script)


@pytest.mark.parametrize("vanish", ["empty", "away", "a file", "a loop"])
def test_a_repository_that_cannot_be_read_changes_nothing(folder, caplog, vanish: str) -> None:
    async def script(repository: Repository) -> None:
        shutil.rmtree(folder)
        if vanish == "empty":  # the mount point of a volume that is not there
            folder.mkdir()
        elif vanish == "a file":
            folder.write_text("")
        elif vanish == "a loop":
            folder.symlink_to(folder)
        await repository.rescan()
        assert answering(repository) == 1
        assert list(repository.known()) == ["student"]
        assert "what is loaded stays" in caplog.text
        with pytest.raises((BundleError, NotFound)):
            await repository.load("student", 2)

    run(folder, script)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_without_the_right_to_read_it_changes_nothing(folder, caplog) -> None:
    async def script(repository: Repository) -> None:
        folder.chmod(0)
        await repository.rescan()
        folder.chmod(0o755)
        assert answering(repository) == 1
        assert "Permission denied; make it a folder that the server can read" in caplog.text

    run(folder, script)


def test_an_alias_file_is_read_again_and_its_version_loaded(folder, toolbox, caplog) -> None:
    toolbox.write_bundle(folder, "student", 2)

    async def script(repository: Repository) -> None:
        (folder / "student/aliases.json").write_text('{"stable": 1}')
        await repository.rescan()
        assert repository.get(ModelSpec(name="student", alias="stable")).facts.version == 1
        assert answering(repository) == 2
        (folder / "student/aliases.json").write_text('{"stable":')
        await repository.rescan()
        assert repository.aliases("student") == {"stable": 1}
        assert "the aliases of student stay as they were" in caplog.text

    run(folder, script)


def test_a_look_leaves_alone_what_is_still_being_copied(folder, toolbox) -> None:
    async def script(repository: Repository) -> None:
        whole = toolbox.write_bundle(folder.parent, "student", 2)
        copy = folder / "student/2"
        (copy / "golden").mkdir(parents=True)
        for name in ("bundle.json", "model.onnx", "calibration.json", "golden/golden.json"):
            shutil.copy2(whole / name, copy / name)
            await repository.rescan(only_still=True)
            assert repository.known()["student"].keys() <= {1, 2}
            assert repository.known()["student"][2].state == State.STATE_UNLOADED
        for place in range(3):
            shutil.copy2(whole / f"golden/{place}.png", copy / "golden")
        await repository.rescan(only_still=True)
        assert answering(repository) == 1
        await repository.rescan(only_still=True)
        assert answering(repository) == 2

    run(folder, script)


def test_a_file_that_is_touched_in_a_loaded_version_moves_nothing(folder, toolbox) -> None:
    toolbox.write_bundle(folder, "student", 2)

    async def script(repository: Repository) -> None:
        model = repository.get(ModelSpec(name="student"))
        for text in ("a", "ab", "abc"):
            (folder / "student/2/README.md").write_text(text)
            await repository.rescan(only_still=True)
        await repository.rescan(only_still=True)
        assert ready(repository) == ["student/2"]
        assert repository.get(ModelSpec(name="student")) is model

    run(folder, script)


def test_watching_finds_a_new_version_by_itself_and_survives_a_look_that_fails(folder, toolbox, caplog) -> None:
    async def script(repository: Repository) -> None:
        class Stumbling:
            def __init__(self) -> None:
                self.looks = 0

            async def rescan(self, *, only_still: bool) -> None:
                self.looks += 1
                if self.looks == 1:
                    raise RuntimeError("a bad day")
                await repository.rescan(only_still=only_still)

        watcher = asyncio.create_task(watch(Stumbling(), 0.01))  # type: ignore[arg-type]
        toolbox.write_bundle(folder, "student", 2)
        await until(lambda: answering(repository) == 2)
        watcher.cancel()
        assert "a bad day" in caplog.text

    run(folder, script)
