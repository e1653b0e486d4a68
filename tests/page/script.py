"""What the model of the page's tests says, by what it is asked."""

from __future__ import annotations

MARKDOWN = """\
# Rye bread

A **dense** loaf, with *caraway*, `salt` and ~~sugar~~. See [the recipe](https://example.org/rye).

| flour | grams |
|---|---:|
| rye | 300 |
| wheat | 200 |

```python
def loaf(grams: int) -> str:
    return f"{grams} g"  # a comment
```

- one
- two
  1. inner
  2. more

The heat is $E = mc^2$, and

$$\\int_0^1 x^2\\,dx = \\frac{1}{3}$$

> Bread is life.
"""

ATTACK = """\
<script>window.attacked = 1</script>

<img src=x onerror="window.attacked = 2">

[click](javascript:window.attacked=3) ![beacon](http://192.0.2.1/beacon.png)

<svg onload="window.attacked=4"><a xlink:href="javascript:window.attacked=5">x</a></svg>

<iframe srcdoc="<script>parent.attacked=6</script>"></iframe> <style>body{display:none}</style>

`</code></pre><script>window.attacked = 7</script>`

```html
</code></pre><script>window.attacked = 8</script>
```

$\\href{javascript:window.attacked=9}{x}$ <math><mtext><script>window.attacked=10</script></mtext></math>

| <script>window.attacked=11</script> | b |
|---|---|
| <b onmouseover="window.attacked=12">x</b> | [y](data:text/html,<script>window.attacked=13</script>) |
"""

PICTURED = """\
For one loaf, by **baker's percentages**:

| flour | grams |
|---|---:|
| rye | 300 |
| wheat | 200 |

The water is $w = \\frac{3}{4} \\cdot 500 = 375$ g. For other sizes:

```python
def water(flour: int) -> float:
    return 0.75 * flour  # grams
```
"""

LONG_WORD = "a" * 1_000_000
BROKEN = (
    "**never closed\n\n```python\nprint(1)\n\n| a | b\n|--\n[x](\n$\\frac{1$ \x1b[31mred\x07 \u202eesrever"
)
SLOW = " ".join(f"word{n}" for n in range(400))

SCRIPT: list[dict[str, object]] = [
    {"when": "markdown", "reply": MARKDOWN},
    {"when": "stream it", "reply": MARKDOWN * 3, "delay": 0.01},
    {"when": "attack", "reply": ATTACK, "reasoning": "<script>window.attacked = 14</script>"},
    {"when": "long word", "reply": LONG_WORD},
    {"when": "broken", "reply": BROKEN},
    {"when": "be slow", "reply": SLOW, "delay": 0.05},
    {"when": "be quick", "reply": SLOW, "delay": 0.005},
    {"when": "think", "reasoning": "Let me see. " * 20, "reply": "Thought through.", "delay": 0.01},
    {"when": "read slowly", "prefill": 3.0, "reply": "I have read it."},
    {"when": "load slowly", "loading": 3.0, "reply": "I am loaded."},
    {
        "when": "comes first",
        "reasoning": "The starter, then warmth, then water. " * 20,
        "reply": "The starter. Without it the other two do not matter.",
        "delay": 0.01,
    },
    {"when": "for one loaf", "reply": PICTURED},
    {"when": "unavailable", "fail": "unavailable"},
    {"when": "break off", "reply": "It goes well until it breaks.", "fail": "break after 4 tokens"},
    {"when": "call it", "tool_calls": [{"name": "clock", "arguments": {"zone": "UTC"}}]},
    {"reply": None},
]
