"""Where computed prompts are: in which slot of the worker, or saved as which snapshot.

prefix         what a prompt begins with, so that two can be compared without a tokenizer
placing        which slot a turn goes to, and what becomes of what is there. Pure
slots          the slots of one worker, and what is done with them
snapshot_file  a snapshot as a file, and why one is refused
snapshots      all snapshots of a process, in memory and on disk, within their quotas
identity       what a snapshot of a model can be restored into
"""
