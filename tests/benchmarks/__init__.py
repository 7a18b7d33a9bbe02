"""flowkit, hand-written floors and peers side by side: ``python -m tests.benchmarks --help``.

- ``rows``: what is measured, as a table; a new row is an entry there
- ``workloads``: the graphs, the same for everybody, and the right answers
- ``sources``: the graphs as modules of functions, for those who read modules
- ``stopwatch``: the plugin that times flowkit from inside
- ``processes``: one process from its start to its end, with its peak memory
- ``peers``: one program for each of the others; ``floors`` are the hand-written ones
- ``table``: what is printed
"""
