"""What holds for every flow in this folder: the hooks named here are a plugin of its runs.

As in a ``conftest.py``, it may hold hooks of its own, resources, and defaults for the tasks below.
"""

from owners import flowkit_report_sections, flowkit_task_options, phone_book

from flowkit import hookimpl

__all__ = ["flowkit_report_sections", "flowkit_task_options", "phone_book"]


@hookimpl
def flowkit_header() -> list[str]:
    """A line for the head of the report."""
    return ["example: tasks with owners"]
