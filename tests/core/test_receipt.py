"""Receipts on record, from now and from before."""

from __future__ import annotations

import msgspec

from palaver.core.receipt import LeftOut, Receipt

BEFORE = (
    b'{"model":"pocket","mode":"auto","epoch":"epoch_1","reason":"overflow","began":true,"path":5,"seen":[[2,5]],'
    b'"left_out":[{"start":0,"stop":2,"why":"window"}],"context_size":400,"reserved":80,"prompt_tokens":189,"counted":"engine",'
    b'"tokenizer":"gguf:1"}'
)
"""As it was kept before receipts said what was cached, and what was prepared."""


def test_a_receipt_from_before_is_read_and_written_as_it_was() -> None:
    receipt = msgspec.json.decode(BEFORE, type=Receipt)
    assert receipt == Receipt(
        model="pocket",
        mode="auto",
        epoch="epoch_1",
        reason="overflow",
        began=True,
        path=5,
        seen=[(2, 5)],
        left_out=[LeftOut(0, 2, "window")],
        context_size=400,
        reserved=80,
        prompt_tokens=189,
        counted="engine",
        tokenizer="gguf:1",
    )
    assert (receipt.cached_tokens, receipt.prepared) == (None, False)
    assert msgspec.json.encode(receipt) == BEFORE


def test_what_is_new_is_kept() -> None:
    receipt = msgspec.structs.replace(
        msgspec.json.decode(BEFORE, type=Receipt), cached_tokens=0, prepared=True
    )
    assert msgspec.json.decode(msgspec.json.encode(receipt), type=Receipt) == receipt
