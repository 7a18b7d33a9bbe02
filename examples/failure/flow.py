"""When things go wrong: failures are values that other tasks may ask for.

As it stands the disk is full: ``store`` fails, ``page_oncall`` and ``clean_up`` run, ``announce``
cannot, and the run fails (exit code 1). With ``-P disk_full=false`` the run is fine (exit code 0),
although ``rates`` failed (its fallback stood in) and ``advert`` failed (it was allowed to).
"""

from flowkit import Failure, Outcome, Success, task


@task(fallback="rates_of_yesterday")
def rates() -> dict[str, float]:
    """Today's rates; the bank does not answer."""
    raise ConnectionError("the bank does not answer")


@task
def rates_of_yesterday() -> dict[str, float]:
    """Runs only because ``rates`` failed, and stands in for it."""
    return {"USD": 1.08, "GBP": 0.84}


@task(allow_failure=True)
def advert() -> str:
    """Nice to have: its failure is reported, but does not fail the run."""
    raise LookupError("no advert today")


@task
def store(rates: dict[str, float], disk_full: bool = True) -> int:
    """Gets the rates of yesterday, as if nothing had happened."""
    if disk_full:
        raise OSError("no space left on device")
    return len(rates)


@task
def page_oncall(store: Failure[OSError]) -> str:
    """Runs only if ``store`` failed with an ``OSError``."""
    return f"paged: {store.error}"


@task
def announce(store: int) -> str:
    """An ordinary user of ``store``: UPSTREAM if that failed."""
    return f"{store} rates stored"


@task
def clean_up(store: Outcome[int]) -> str:
    """Runs whatever became of ``store``; it does not hide a failure."""
    match store:
        case Success(value=count):
            return f"nothing to clean up after {count} rates"
        case Failure(error=error):
            return f"half a file removed ({error})"
    return "nothing was written"


@task(trigger="any_failed", needs=["advert", "store"])
def incident() -> str:
    """Runs if one of those it needs failed; ``trigger`` says it for all of them at once."""
    return "an entry in the incident log"
