"""The bundled demo model: 4 MB that remember what they are told and know a few cities. See CARD.md."""

from pathlib import Path

POCKET = Path(__file__).with_name("pocket.gguf")
