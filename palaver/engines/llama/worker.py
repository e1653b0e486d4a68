"""The child process: loads one model and serves llama.cpp's HTTP on a private address, until its parent ends.

    <- one line of JSON on stdin: the settings (`Start`)
    -> one line of JSON on stdout: {"ready": true, "address": …, "device": …}, once the model answers

stdin stays open as long as the parent lives; its end is the signal to go. llama.cpp's log goes to stderr.
Nothing secret is on the command line, where every user of the machine could read it.

It is run as a file and imports nothing of palaver, so that it starts fast and holds nothing but the model.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from typing import Any, NoReturn, TypedDict

PR_SET_PDEATHSIG = 1


class Start(TypedDict):
    """What the parent says first. `socket` is the path to listen on, or None for a free port of 127.0.0.1.

    `context` is that of all slots together. `parent` is the parent's process id. With a `pooling`, llama.cpp's number
    of it, it makes vectors of texts and does not chat. `saves` is the folder for what slots hold, None for nowhere.
    """

    parent: int
    model: str
    name: str
    socket: str | None
    api_key: str
    slots: int
    context: int
    threads: int
    batch: int
    pooling: int
    saves: str | None


def main() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the parent
    # The default action ends the process at once, also while the model loads (which keeps Python from
    # running) and while requests run (destroying the server then hangs or aborts).
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    start: Start = json.loads(sys.stdin.buffer.readline())
    die_with(start["parent"])
    protocol = os.dup(1)
    os.dup2(2, 1)  # what llama.cpp prints must not come between
    server, device = serve(start)
    ready = {"ready": True, "address": server.listening_address, "device": device}
    os.write(protocol, json.dumps(ready).encode() + b"\n")
    while True:
        threading.Event().wait()


def die_with(parent: int) -> None:
    """End with the parent, however that ends: by the kernel on Linux, at the end of stdin everywhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)  # it ended before the kernel was asked
    threading.Thread(target=exit_at_end_of_stdin, daemon=True).start()


def exit_at_end_of_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def serve(start: Start) -> tuple[Any, str]:
    """The running server, and the device it computes on."""
    import xllamacpp  # noqa: PLC0415 - only here: its native code takes a while, and may crash

    params = xllamacpp.CommonParams()
    params.model.path = start["model"]
    params.model_alias = {start["name"]}
    params.hostnames = [start["socket"] or "127.0.0.1"]
    params.port = 0
    params.api_keys = [start["api_key"]]
    params.n_ctx = start["context"]
    params.n_parallel = start["slots"]
    params.n_threads_http = start["slots"] + 16  # every open stream holds one, and all else needs some too
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = start["threads"]
    params.n_batch = params.n_ubatch = start["batch"]
    if start["pooling"]:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type(start["pooling"])
    # Who uses which slot, and what is reused, is decided by the parent: the server knows no owners.
    params.kv_unified = False
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.slot_prompt_similarity = 0.0
    params.prefill_assistant = (
        False  # an assistant's message is part of the history, not the start of a reply
    )
    params.sse_ping_interval = -1  # a byte must mean that it computes
    params.endpoint_slots = True
    if start["saves"] is not None:
        params.slot_save_path = os.path.join(start["saves"], "")  # names are put behind it as they are
    params.ui = False
    params.warmup = True
    params.verbosity = 1
    devices = xllamacpp.get_device_info()
    server = xllamacpp.Server(params)
    return server, ", ".join(f"{device['name']} ({device['description'].strip()})" for device in devices)


if __name__ == "__main__":
    main()
