"""llama.cpp's own server, as somebody would run it: with its defaults, on a port of this machine.

Run as a file: the model's path as its argument; says its address on the first line of stdout, and ends with stdin.
"""

import ctypes
import os
import signal
import sys


def main() -> None:
    protocol = os.dup(1)
    os.dup2(2, 1)  # what llama.cpp prints must not come between
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # ends with its parent
    import xllamacpp  # noqa: PLC0415 - only here: its native code takes a while

    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 1024
    params.n_parallel = 2
    params.kv_unified = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity = 0
    server = xllamacpp.Server(params)
    os.write(protocol, server.listening_address.encode() + b"\n")
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    main()
