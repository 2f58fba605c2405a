"""The http transport: a process that claims messages, posts them and settles the answers.

Nothing is imported here: a package that is read late and imports its own modules would get them twice (:mod:`qctl.lazy`).
"""
