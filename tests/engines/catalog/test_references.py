"""What an operator may call a model by, and which file of a repository is meant."""

import pytest

from palaver.core.errors import ConfigError
from palaver.engines.catalog.curated import CURATED, curated
from palaver.engines.catalog.quants import HubFile, chosen, is_meant, variants
from palaver.engines.catalog.references import HubName, check_name, hub_name, usable_name

FILE = "q/Model-Q4_K_M-00001-of-00002.gguf"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf:a/b", HubName("a/b")),
        ("hf:a/b:Q4_K_M", HubName("a/b", "Q4_K_M")),
        ("hf:a/b@v1.0:x.gguf", HubName("a/b", "x.gguf", "v1.0")),
        ("hf.co/a/b:Q8_0", HubName("a/b", "Q8_0")),
        ("https://huggingface.co/a/b", HubName("a/b")),
        ("https://huggingface.co/a/b/", HubName("a/b")),
        ("https://huggingface.co/a/b/tree/dev", HubName("a/b", "", "dev")),
        (f"https://hf.co/a/b/blob/main/{FILE}", HubName("a/b", FILE)),
        (
            "https://hf.co/a/b/resolve/refs%2Fpr%2F1/x%20y.gguf?download=true",
            HubName("a/b", "x y.gguf", "refs/pr/1"),
        ),
    ],
)
def test_names_on_the_hub(text: str, name: HubName) -> None:
    assert hub_name(text) == name
    assert hub_name(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "pocket",
        "a/b",
        "ollama/llama3",
        "/models/x.gguf",
        "x.gguf",
        "https://example.org/a/b",
        "C:\\x.gguf",
        "",
    ],
)
def test_what_is_no_name_on_the_hub(text: str) -> None:
    assert hub_name(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "hf:",
        "hf:a",
        "hf:a/b/c",
        "hf:a/../b",
        "hf:a/b@../../x",
        "hf:/etc/passwd",
        "hf:a/b:../../x.gguf",
        "https://huggingface.co/",
        "https://huggingface.co/models",
        "https://huggingface.co/a/b/wiki/x",
        "https://huggingface.co/a/b/blob/main",
        "https://huggingface.co/a/b/blob/main/%2e%2e/x.gguf",
    ],
)
def test_malformed_names_on_the_hub(text: str) -> None:
    with pytest.raises(ConfigError, match="names no model on the hub"):
        hub_name(text)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Qwen3-4B-Q4_K_M.gguf", "Qwen3-4B-Q4_K_M"),
        ("big-00001-of-00003.gguf", "big"),
        ("My Model (v2).GGUF", "My-Model-v2-"),
        ("llama3.2:3b", "llama3.2:3b"),
        ("...gguf", "model"),
        ("x" * 300 + ".gguf", "x" * 100),
    ],
)
def test_names_made_of_files(file: str, name: str) -> None:
    assert usable_name(file) == name
    check_name(name, frozenset())


@pytest.mark.parametrize("name", ["", "a/b", "a=b", "a,b", "a+b", "*", "-x", "a b", "x" * 101])
def test_names_that_no_added_model_may_have(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name"):
        check_name(name, frozenset())


def test_a_name_that_is_taken() -> None:
    with pytest.raises(ConfigError, match="There is a model pocket already"):
        check_name("pocket", frozenset({"pocket"}))


def files(*names: str) -> list[HubFile]:
    return [HubFile(name, 100 + number) for number, name in enumerate(names)]


def test_the_models_of_a_repository() -> None:
    found = variants(
        files(
            "README.md",
            "Q8_0/m-Q8_0-00002-of-00002.gguf",
            "Q8_0/m-Q8_0-00001-of-00002.gguf",
            "m-Q4_K_M.gguf",
            "m-UD-Q4_K_XL.gguf",
            "m-mxfp4.gguf",
            "m.f16.gguf",
            "mmproj-m-F16.gguf",
            "m-lora.gguf",
            "part-Q2_K-00001-of-00002.gguf",
        )
    )
    assert [(each.name, each.quant, each.size) for each in found] == [
        ("m-Q4_K_M.gguf", "Q4_K_M", 103),
        ("m-UD-Q4_K_XL.gguf", "UD-Q4_K_XL", 104),
        ("m-mxfp4.gguf", "MXFP4", 105),
        ("m.f16.gguf", "F16", 106),
        ("Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0", 203),
    ]
    assert [file.path[-9:] for file in found[-1].files] == ["0002.gguf"] * 2
    assert [file.path for file in found[-1].files] == sorted(file.path for file in found[-1].files)


@pytest.mark.parametrize(
    ("names", "choice", "name"),
    [
        (["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-Q2_K.gguf"], "", "m-Q4_K_M.gguf"),
        (["m-Q8_0.gguf", "m-Q2_K.gguf"], "", "m-Q8_0.gguf"),
        (["model.gguf"], "", "model.gguf"),
        (["m-Q8_0.gguf", "m-Q2_K.gguf"], "q2_k", "m-Q2_K.gguf"),
        (["a/m-Q8_0.gguf", "b/m-Q8_0.gguf"], "b/m-Q8_0.gguf", "b/m-Q8_0.gguf"),
        (["m-UD-Q4_K_XL.gguf", "m-Q8_0.gguf"], "Q4_K_XL", "m-UD-Q4_K_XL.gguf"),
        (
            ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"],
            "m-00002-of-00002.gguf",
            "m-00001-of-00002.gguf",
        ),
    ],
)
def test_which_model_is_meant(names: list[str], choice: str, name: str) -> None:
    assert chosen(variants(files(*names)), choice, "a/b").name == name


@pytest.mark.parametrize(
    ("names", "choice", "words"),
    [
        ([], "", "holds no GGUF model"),
        (["README.md", "mmproj-F16.gguf"], "", "holds no GGUF model"),
        (["a.gguf", "b.gguf"], "", "several models; name one: a.gguf, b.gguf"),
        (["m-Q8_0.gguf"], "Q4_K_M", "has no Q4_K_M; there are: Q8_0"),
        (["a/m-Q8_0.gguf", "b/n-Q8_0.gguf"], "Q8_0", "has several Q8_0; name a file"),
    ],
)
def test_when_none_is_meant(names: list[str], choice: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        chosen(variants(files(*names)), choice, "a/b")


def test_many_models_are_not_all_told() -> None:
    with pytest.raises(ConfigError, match=r"and 980 more\.$"):
        chosen(variants(files(*(f"m{number}.gguf" for number in range(1000)))), "", "a/b")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("hf:a/b", True),
        ("hf:a/b:Q4_K_M", True),
        ("hf:a/b:x/m-Q4_K_M.gguf", True),
        ("hf:a/b:M-q4_k_m.gguf", True),
        ("hf:a/b:Q8_0", False),
        ("hf:a/c", False),
        ("hf:a/b@dev", False),
    ],
)
def test_whether_a_name_means_what_is_there(asked: str, meant: bool) -> None:
    name = hub_name(asked)
    assert name is not None
    assert is_meant(name, HubName("a/b", "x/m-Q4_K_M.gguf")) is meant


def test_the_list_to_begin_with() -> None:
    assert 8 <= len(CURATED) <= 12
    names = [each.name for each in CURATED]
    assert len(set(names)) == len(names)
    for each in CURATED:
        check_name(each.name, frozenset())
        assert curated(each.name) is each
        assert hub_name(str(each.hub_name)) == each.hub_name
        variant = chosen(variants([HubFile(each.file, each.size)]), each.file, each.repo)
        assert variant.quant in ("Q4_K_M", "Q8_0", "MXFP4")
        assert each.licence
        assert 100_000_000 < each.size < 15_000_000_000
    assert curated("nothing") is None
