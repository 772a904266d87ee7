from contextlib import closing

import pytest

from pupil_client.labelling.ledger import Ledger

LINE = ["a.png", "00", "cat", 0.5, False, "0000003f", None]
DAMAGES = {
    "removed": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(b"[[]"),
    "no text": lambda file: file.write_bytes(b"\xff\xfe\xfd"),
    "another label": lambda file: file.write_bytes(file.read_bytes().replace(b"cat", b"dog")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_shard_that_is_not_what_was_written_is_never_read_and_is_done_again(tmp_path, damage) -> None:
    with closing(Ledger(tmp_path / "job")) as ledger:
        for number in (0, 1):
            ledger.finish(ledger.write(number, [LINE], "here"))
        first, second = ledger.finished()
        assert ledger.read(first) == [LINE]
        damage(tmp_path / "job/shards/000000.json")
        with pytest.raises(ValueError, match=r"000000\.json: changed .* the same command labels its images anew$"):
            ledger.read(first)
        ledger.forget_damaged()
        assert ledger.finished() == [second]
        ledger.finish(ledger.write(0, [LINE], "there"))
        assert [ledger.read(shard) for shard in ledger.finished()] == [[LINE], [LINE]]


@pytest.mark.parametrize("page", [0, 1, 2])
def test_a_damaged_ledger_is_told_with_what_to_do(tmp_path, page: int) -> None:
    with closing(Ledger(tmp_path / "job")) as ledger:
        ledger.begin({"source": "5e"})
        ledger.finish(ledger.write(0, [LINE], "here"))
    with (tmp_path / "job/ledger.sqlite").open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xff" * 4096)
    said = f"^{tmp_path}/job: its ledger is damaged .*; remove it to start over$"
    with pytest.raises(ValueError, match=said), closing(Ledger(tmp_path / "job")) as damaged:
        damaged.facts()
        damaged.finished()
