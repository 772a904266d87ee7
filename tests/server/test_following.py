"""Following the folder, without a server around it."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from pupil_proto.v1.inference_pb2 import ModelSpec
from pupil_proto.v1.models_pb2 import State
from pupil_server.errors import BundleError, NotFound
from pupil_server.following import follow
from pupil_server.repository import Repository


@pytest.fixture
def folder(toolbox, tmp_path: Path) -> Path:
    """`student/1` alone."""
    toolbox.write_bundle(tmp_path / "models", "student", 1, seed=1)
    return tmp_path / "models"


def test_a_rescan_takes_up_new_versions_and_new_models_and_lets_go_of_deleted_ones(
    repositories, folder, toolbox
) -> None:
    async def script(repository: Repository) -> None:
        toolbox.write_bundle(folder, "student", 2)
        toolbox.write_bundle(folder, "teacher", 1)
        await repository.rescan()
        assert repositories.ready(repository) == ["student/2", "teacher/1"]
        shutil.rmtree(folder / "teacher")
        shutil.rmtree(folder / "student/2")
        await repository.rescan()
        assert (repositories.ready(repository), repositories.answering(repository)) == (["student/1"], 1)

    repositories.run(folder, script)


def test_only_the_models_that_were_named_are_followed(repositories, folder, toolbox) -> None:
    async def script(repository: Repository) -> None:
        toolbox.write_bundle(folder, "teacher", 1)
        await repository.rescan()
        assert repositories.ready(repository) == ["student/1"]

    repositories.run(folder, script, models=("student",))


def test_a_policy_of_two_newest_follows_the_folder(repositories, folder, toolbox) -> None:
    async def script(repository: Repository) -> None:
        for version, loaded in ((2, ["student/1", "student/2"]), (3, ["student/2", "student/3"])):
            toolbox.write_bundle(folder, "student", version)
            await repository.rescan()
            assert repositories.ready(repository) == loaded

    repositories.run(folder, script, versions=("latest:2",))


def test_a_version_that_failed_is_tried_again_only_once_its_folder_has_changed(
    repositories, folder, toolbox, caplog
) -> None:
    async def script(repository: Repository) -> None:
        graph = toolbox.write_bundle(folder, "student", 2) / "model.onnx"
        whole = graph.read_bytes()
        graph.write_bytes(whole[:-1])
        for _ in range(3):
            await repository.rescan()
        assert caplog.text.count("student/2 is not loaded: student/2/model.onnx: changed") == 1
        assert repository.known()["student"][2].state == State.STATE_FAILED
        assert repositories.answering(repository) == 1
        graph.write_bytes(whole)
        await repository.rescan()
        assert repositories.answering(repository) == 2

    repositories.run(folder, script)


def test_a_version_that_was_unloaded_by_hand_does_not_come_back_by_itself(repositories, folder, toolbox) -> None:
    async def script(repository: Repository) -> None:
        await repository.unload("student")
        await repository.rescan()
        assert repositories.ready(repository) == []
        toolbox.write_bundle(folder, "student", 2)
        await repository.rescan()
        assert repositories.ready(repository) == ["student/2"]

    repositories.run(folder, script)


def test_the_last_version_that_answers_stays_though_its_folder_is_gone(repositories, folder, toolbox) -> None:
    async def script(repository: Repository) -> None:
        (toolbox.write_bundle(folder, "student", 2) / "golden/0.png").unlink()
        shutil.rmtree(folder / "student/1")
        for _ in range(2):
            await repository.rescan()
        assert repositories.answering(repository) == 1

    repositories.run(folder, script)


@pytest.mark.parametrize("vanish", ["empty", "away", "a file", "a loop"])
def test_a_repository_that_cannot_be_read_changes_nothing(repositories, folder, caplog, vanish: str) -> None:
    async def script(repository: Repository) -> None:
        shutil.rmtree(folder)
        if vanish == "empty":  # the mount point of a volume that is not there
            folder.mkdir()
        elif vanish == "a file":
            folder.write_text("")
        elif vanish == "a loop":
            folder.symlink_to(folder)
        await repository.rescan()
        assert repositories.answering(repository) == 1
        assert list(repository.known()) == ["student"]
        assert "what is loaded stays" in caplog.text
        with pytest.raises((BundleError, NotFound)):
            await repository.load("student", 2)

    repositories.run(folder, script)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_without_the_right_to_read_it_changes_nothing(repositories, folder, caplog) -> None:
    async def script(repository: Repository) -> None:
        folder.chmod(0)
        await repository.rescan()
        folder.chmod(0o755)
        assert repositories.answering(repository) == 1
        assert "Permission denied; make it a folder that the server can read" in caplog.text

    repositories.run(folder, script)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_version_without_the_right_to_read_it_fails_by_itself(repositories, folder, toolbox) -> None:
    async def script(repository: Repository) -> None:
        toolbox.write_bundle(folder, "student", 2).chmod(0)
        (folder / "student/1").chmod(0)
        toolbox.write_bundle(folder, "teacher", 1)
        await repository.rescan()
        (folder / "student/1").chmod(0o755)
        (folder / "student/2").chmod(0o755)
        assert repositories.ready(repository) == ["student/1", "teacher/1"]
        assert "student/2/bundle.json: Permission denied" in repository.known()["student"][2].reason
        await repository.rescan()
        assert repositories.answering(repository) == 2

    repositories.run(folder, script)


def test_an_alias_file_is_read_again_and_its_version_loaded(repositories, folder, toolbox, caplog) -> None:
    toolbox.write_bundle(folder, "student", 2)

    async def script(repository: Repository) -> None:
        (folder / "student/aliases.json").write_text('{"stable": 1}')
        await repository.rescan()
        assert repository.get(ModelSpec(name="student", alias="stable")).facts.version == 1
        assert repositories.answering(repository) == 2
        (folder / "student/aliases.json").write_text('{"stable":')
        await repository.rescan()
        assert repository.aliases("student") == {"stable": 1}
        assert "the aliases of student stay as they were" in caplog.text

    repositories.run(folder, script)


def test_a_look_leaves_alone_what_is_still_being_copied(repositories, folder, toolbox) -> None:
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
        assert repositories.answering(repository) == 1
        await repository.rescan(only_still=True)
        assert repositories.answering(repository) == 2

    repositories.run(folder, script)


def test_a_file_that_is_touched_in_a_loaded_version_moves_nothing(repositories, folder, toolbox) -> None:
    toolbox.write_bundle(folder, "student", 2)

    async def script(repository: Repository) -> None:
        model = repository.get(ModelSpec(name="student"))
        for text in ("a", "ab", "abc"):
            (folder / "student/2/README.md").write_text(text)
            await repository.rescan(only_still=True)
        await repository.rescan(only_still=True)
        assert repositories.ready(repository) == ["student/2"]
        assert repository.get(ModelSpec(name="student")) is model

    repositories.run(folder, script)


def test_watching_finds_a_new_version_by_itself_and_survives_a_look_that_fails(
    repositories, folder, toolbox, caplog
) -> None:
    async def script(repository: Repository) -> None:
        class Stumbling:
            def __init__(self) -> None:
                self.looks = 0

            async def rescan(self, *, only_still: bool) -> None:
                self.looks += 1
                if self.looks == 1:
                    raise RuntimeError("a bad day")
                await repository.rescan(only_still=only_still)

        watcher = asyncio.create_task(follow(Stumbling(), 0.01))  # type: ignore[arg-type]
        toolbox.write_bundle(folder, "student", 2)
        await repositories.until(lambda: repositories.answering(repository) == 2)
        watcher.cancel()
        assert "a bad day" in caplog.text

    repositories.run(folder, script)
