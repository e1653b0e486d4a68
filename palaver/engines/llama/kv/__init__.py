"""Where computed prompts are: in which slot of the worker, or saved as which snapshot.

prefix         what a prompt begins with, so that two can be compared without a tokenizer
placing        which slot a turn goes to, and what becomes of what is there. Pure
seat           one slot: what it holds as far as that is known, and who has it
slots          the slots of one worker, and who gets which
saving         slots saved as snapshots, restored and erased
identity       what a snapshot of a model can be restored into
snapshot_file  a snapshot as a file, and why one is refused
snapshots      all snapshots of a process, in memory and on disk
eviction       which of them go first, within the quotas. Pure
opening        what is found at the start
"""
