"""``python -m flowkit``, and the console script."""

from flowkit.garbage import collect_less_often


def main() -> None:
    """Run the command line; looks for garbage while it is imported would take 3 % of a start."""
    collect_less_often()
    from flowkit.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
