"""The engine of our own: llama.cpp, from the wheel `xllamacpp`, in a child process that palaver watches.

    gguf        is this file a whole model? what does its header say? (gguf_file: the format; architectures: whose KV
                cache cannot be kept)
    settings    what an operator may choose
    machine     how much memory there is
    footprint   how much memory a model takes, and which context fits
    memory      which models are loaded, and which make room
    worker      the child process: loads the model, serves llama.cpp's HTTP on a private socket
    folder      where its socket lies, and that it is gone in the end
    process     one worker: started, watched, stopped
    supervisor  always at most one worker, started when needed and again after a crash or after it made room
    workers     what a request needs of a worker
    places      who may ask it now, and who waits
    kv/         what its slots hold, which slot a prompt goes to, and what is saved of them
    prefill     long prompts, in pieces
    ahead       what the next prompt of a conversation begins with, prefilled while nobody waits
    upkeep      slots saved and erased between turns
    prompt      messages and parameters as the worker reads them; what is in a message stays data
    tools       the same of tools, calls and results
    thinking    whether and how much a model thinks, in the words of its chat template
    grammar     what a text has to be: read, checked and held against the text by the library that llama.cpp uses
    calls       calls that a reply has to make, by a prompt that begins them and a grammar
    weight      how much work a schema makes where llama.cpp reads it itself
    plan        all of that for one reply
    sending     a plan as a request; lore: what only a worker knows of a template
    reading     the reply to it
    completing  texts without a template
    embedding   texts as vectors
    asking      what is asked of a worker over HTTP, and what its failures mean (finishing: to its end, whoever leaves)
    replying    one reply: a place, a slot and a request for it
    engine      the contract, out of these parts
    local       the engine with a worker of its own
    remote      the engine of a llama-server that somebody else started (remote_server: as a worker; remote_model: what
                it says of its model; remote_file: whose file may lie here)
    hardware    what this machine computes with

The worker is run as a file, not imported: what is imported here is palaver's side.
"""

from palaver.engines.llama.kv.snapshots import Snapshots
from palaver.engines.llama.local import LlamaEngine
from palaver.engines.llama.memory import ModelMemory
from palaver.engines.llama.remote import RemoteEngine
from palaver.engines.llama.remote_server import RemoteSettings
from palaver.engines.llama.settings import LlamaSettings

__all__ = ["LlamaEngine", "LlamaSettings", "ModelMemory", "RemoteEngine", "RemoteSettings", "Snapshots"]
