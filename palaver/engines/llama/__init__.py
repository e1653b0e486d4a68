"""The engine of our own: llama.cpp, from the wheel `xllamacpp`, in a child process that palaver watches.

    gguf        is this file a whole model? what does its header say?
    settings    what an operator may choose
    worker      the child process: loads the model, serves llama.cpp's HTTP on a private socket
    folder      where its socket lies, and that it is gone in the end
    process     one worker: started, watched, stopped
    supervisor  always at most one worker, started when needed and again after a crash
    places      who may use which slot of the worker, and whose cache it may reuse
    prompt      messages and parameters as the worker reads them; what is in a message stays data
    asking      what is asked of a worker over HTTP, and what its failures mean
    engine      the contract, out of these parts

The worker is run as a file, not imported: what is imported here is palaver's side.
"""

from palaver.engines.llama.engine import LlamaEngine
from palaver.engines.llama.settings import LlamaSettings

__all__ = ["LlamaEngine", "LlamaSettings"]
