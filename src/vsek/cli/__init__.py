"""The ``vsek`` command: one module per noun; what is heavy is imported where it is used.

``main``        the program: puts the commands together, turns errors into texts and exit codes
``run``         the run folder (``--dir``) and its settings
``output``      tables, JSON and messages
``control``     client of the switchboard's control API
``processes``   up, serve, notes, demo, doctor
``clients``, ``agents``, ``calls``, ``notes``   the nouns
"""
