"""Public checkpoints in their own layouts → the files that omnitalk loads (safetensors).

An importer is ``convert(main, companions, target)``: it reads the checkpoint ``main`` and what it
needs of ``companions`` (files of its repository by base name, such as ``vocab.txt``), and writes
``target`` whole or not at all. It raises InputError, naming file and reason, for anything else.
"""
