"""The user's code: what a function says, and what it reaches. ``fingerprint.py`` puts it together.

``trees`` writes a syntax tree as text, ``syntax`` does so for whatever a file defines, and
``bytecode`` lists what compiled code loads; ``source`` finds the text as imported and remembers
it; ``ownership`` says whose code it is, ``modules`` where it lies; ``reach`` follows names to
``nodes``, which ``functions``, ``classes`` and ``constants`` fill in; ``bound`` says how a constant
was made.
"""
