import pytest

from pupil_client.labelling.ledger import Ledger, Shard

LINE = ["a.png", "00", "cat", 0.5, False, "0000003f", None]


@pytest.mark.parametrize("damage", [b"", b"[[]", b"[]", b"\xff\xfe\xfd"], ids=["empty", "cut", "another", "no text"])
def test_a_shard_that_is_not_what_was_written_is_named_with_what_to_do(tmp_path, damage: bytes) -> None:
    ledger, shard = Ledger(tmp_path / "job"), Shard(0, 1, "here")
    ledger.write(0, [LINE])
    ledger.finish(shard)
    assert ledger.read(shard) == [LINE]
    file = tmp_path / "job/shards/000000.json"
    file.write_bytes(damage)
    with pytest.raises(ValueError, match=f"^{file}: not the 1 images that were written; remove {tmp_path / 'job'}$"):
        ledger.read(shard)
    ledger.close()
