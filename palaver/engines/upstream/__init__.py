"""Any server that speaks OpenAI's chat API: Together, OpenAI, vLLM, SGLang, llama-server, Ollama, LM Studio, others.

http      the connection to it: its key, its session; address: where it is
asking    short questions about it
kinds     which kind of server it is
models    what it tells about its models; contexts: how long their contexts are
dialects  how each kind wants a request, and what it cannot do
body      requests in that way; messages: the history in them
sending   requests sent, and again where that may help (retries)
errors    what its refusals mean
counting  how long a prompt really is that was refused
vectors   embeddings in its answers
ratios  tokens a word by a model's own counts; checking: whether what it says of a reply can be
engine    the contract, out of these parts
"""

from palaver.engines.upstream.engine import UpstreamEngine

__all__ = ["UpstreamEngine"]
