"""An engine that answers without a model: for tests, yours too, for documentation and for benchmarks.

A token is a word with the space before it: a text costs one token for each space in it, and one more where
it does not begin with a space; empty text costs none. A message costs one token more than its texts (content,
thinking, arguments of calls), one for each of its calls, and one for each part that is not text. A tool costs one
token more than its description, and one for each property of its parameters. A reply costs its texts, and one
for each of its calls. A text to go on with costs what it is, and a token number, which stands for the word
``#NUMBER``, one. So counts, limits and contexts are real, and a reader can check them by hand.
"""

from palaver.engines.scripted.engine import PROMPTS_KEPT, ScriptedEngine
from palaver.engines.scripted.script import Line, ScriptedCall
from palaver.engines.scripted.tokens import TOKEN, prompt_tokens, text_tokens, tool_tokens

__all__ = [
    "PROMPTS_KEPT",
    "TOKEN",
    "Line",
    "ScriptedCall",
    "ScriptedEngine",
    "prompt_tokens",
    "text_tokens",
    "tool_tokens",
]
