"""What is said before a conversation with the bundled model, so that nobody takes it for more than it is."""

POCKET = "pocket"
"""The name of the bundled model."""

BANNER = """\
pocket is a tiny built-in demo model of 4 MB. It remembers what you tell it and
knows a few cities; it is no general assistant. Try, one after the other:

    My name is Ada and I'm planning a trip to Lisbon in May.
    What are some fun things to do in New York?
    That sounds fun! Where is it?
    What's my name?

A real model:  palaver chat --model /path/to/model.gguf
or a server:   palaver serve --upstream ollama=http://127.0.0.1:11434/v1 \\
                             --model ollama/llama3.2"""
