"""A llama-server as a user would start one: run as a program, with its settings as JSON on the command line.

It is the server of the wheel, on a TCP port, with its defaults but for what is named. Says its port when it answers.
"""

import json
import sys
import threading

import xllamacpp


def main() -> None:
    settings = json.loads(sys.argv[1])
    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.hostnames = ["127.0.0.1"]
    params.port = settings["port"]
    params.api_keys = settings["keys"]
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["context"] * settings["slots"]
    params.kv_unified = False
    params.endpoint_slots = settings["tells_slots"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.prefill_assistant = settings["continues"]
    if settings["saves"]:
        params.slot_save_path = settings["saves"] + "/"
    params.ui = False
    if settings["alias"]:
        params.model_alias = {settings["alias"]}
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
