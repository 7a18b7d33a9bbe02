"""Two tasks: the second asks for the first by the name of its argument."""

from flowkit import task


@task
def greeting(name: str = "world") -> str:
    """``name`` is no task, so it is a parameter: ``flowkit run hello.py -P name=Ada``."""
    return f"Hello, {name}!"


@task
def banner(greeting: str) -> str:
    """``greeting`` is the task above; its result arrives here."""
    return f"{greeting}\n{'-' * len(greeting)}"
