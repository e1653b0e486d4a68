"""The files of the chat page: where they are, what comes with them, and that a browser needs nothing else."""

from __future__ import annotations

import gzip
import json
import re
from importlib import resources

import pytest

from palaver.server.page import CLASSIC
from tests.server.conftest import Door

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATIC = resources.files("palaver.web") / "static"
NAMES = sorted(each.name for each in STATIC.iterdir() if each.is_file() and each.name != "index.html")
PATHS = ["/", "/ui/", "//", "/v1/", "/v1/ui/"]


@pytest.mark.parametrize("path", PATHS)
async def test_the_page_and_what_it_names_are_there(shared_door: Door, path: str) -> None:
    response, page = await shared_door.get(path)
    assert (response.status, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    named = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert {"assets/main.js", "assets/app.css"} <= set(named)
    for each in named:  # as a browser resolves it, below the page's own path
        response, _ = await shared_door.get(path + each)
        assert response.status == 200, each
    response, _ = await shared_door.get(path + "v1/models")
    assert response.status == 200


async def test_without_its_slash_the_page_would_not_find_its_files(shared_door: Door) -> None:
    async with shared_door.http.get(shared_door.address + "/ui", allow_redirects=False) as response:
        assert (response.status, response.headers["location"]) == (307, "ui/")


async def test_all_modules_are_fetched_at_once(shared_door: Door) -> None:
    _, page = await shared_door.get("/")
    preloads = re.findall(r'<link rel="modulepreload" href="assets/([^"]+)">', page)
    assert "main.js" in preloads
    assert preloads == [name for name in NAMES if name.endswith(".js") and name not in CLASSIC.findall(page)]


@pytest.mark.parametrize("name", NAMES)
async def test_every_file_has_its_type_and_may_do_little(shared_door: Door, name: str) -> None:
    kinds = {
        "js": "text/javascript; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "svg": "image/svg+xml",
        "webmanifest": "application/manifest+json",
    }
    for headers in ({"accept-encoding": "identity"}, {"accept-encoding": "gzip, br"}):
        async with shared_door.http.get(
            f"{shared_door.address}/assets/{name}", headers=headers, auto_decompress=False
        ) as response:
            body = await response.read()
            packed = response.headers.get("content-encoding") == "gzip"
        assert packed is ("gzip" in headers["accept-encoding"])
        assert (gzip.decompress(body) if packed else body) == (STATIC / name).read_bytes()
        assert response.headers["content-type"] == kinds[name.rpartition(".")[2]]
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cross-origin-resource-policy"] == "same-origin"


async def test_the_page_may_run_its_own_scripts_and_nothing_else(shared_door: Door) -> None:
    response, page = await shared_door.get("/")
    policy = dict(
        each.strip().split(" ", 1) for each in response.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in str(policy)
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    # What the policy forbids is not there: scripts and styles in the page, handlers, other places.
    assert not re.findall(r"(?:src|href)=.?(?:https?:)?//", page)
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", page)


@pytest.mark.parametrize("name", [each for each in NAMES if each.endswith((".js", ".css"))])
async def test_no_file_names_another_place(name: str) -> None:
    text = (STATIC / name).read_text()
    assert not re.search(r"(?:import|from|url\(|fetch\()\s*[\"']?(?:https?:)?//", text)
    assert not re.search(r"\beval\(|new Function\(|document\.write", text)


async def test_what_a_browser_has_is_not_sent_again(shared_door: Door) -> None:
    for path in ("/", "/assets/main.js"):
        response, _ = await shared_door.get(path)
        tag = response.headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}'):
            response, body = await shared_door.get(path, {"if-none-match": known})
            assert (response.status, body) == (304, "")
            assert response.headers["etag"] == tag
        response, _ = await shared_door.get(path, {"if-none-match": '"other"'})
        assert response.status == 200


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "nothing.js",
        "",
        "%2e%2e%2f__init__.py",
        "..%2findex.html",
        "a/b.js",
        "%00",
        "main.js%00",
    ],
)
async def test_only_files_of_the_page_are_there(shared_door: Door, name: str) -> None:
    response, body = await shared_door.get(f"/assets/{name}")
    assert response.status == 404
    assert body["error"]["code"] == "not_found"


async def test_the_manifest_names_what_is_there(shared_door: Door) -> None:
    async with shared_door.http.get(shared_door.address + "/assets/manifest.webmanifest") as response:
        manifest = json.loads(await response.read())
    for icon in manifest["icons"]:
        response, _ = await shared_door.get(f"/assets/{icon['src']}")
        assert response.status == 200
    assert manifest["start_url"] == manifest["scope"] == "../"
