"""What a receipt says is what the engine was given, whatever became of the conversation."""

from __future__ import annotations

from pathlib import Path

import pytest

from palaver.stores.sqlite_upkeep import check
from tests.chat.open_trees import OpenTree
from tests.chat.trees import Tree

TREES, TURNS, PORTIONS = 1000, 12, 20


@pytest.mark.parametrize("portion", range(PORTIONS))
async def test_receipts_are_the_prompts(tmp_path: Path, portion: int) -> None:
    """A thousand trees in all."""
    epochs = refused = 0
    for seed in range(portion * TREES // PORTIONS, (portion + 1) * TREES // PORTIONS):
        tree = Tree(tmp_path / f"{seed}.db", seed)
        await tree.grow(TURNS)
        epochs += len(tree.epochs)
        refused += tree.refused
    assert epochs > 3 * TREES // PORTIONS  # windows did begin anew
    assert refused < TREES // PORTIONS * TURNS // 3


async def test_a_long_tree_is_sound(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "palaver.db", 4711)
    await tree.grow(300)
    assert len(tree.epochs) > 20
    assert check(tmp_path / "palaver.db").findings == []


async def test_what_conversations_open_with_and_what_is_said_for_once(tmp_path: Path) -> None:
    opened = passed = grown = 0
    for seed in range(60):
        tree = OpenTree(tmp_path / f"{seed}.db", seed)
        await tree.grow(20)
        opened, passed, grown = opened + tree.opened, passed + tree.passed, grown + tree.grown
        assert check(tmp_path / f"{seed}.db").findings == []
    assert min(opened, passed, grown) > 100
