"""Failure paths under test: parameters and fault plans make tasks fail, each in its own way."""

from flowkit.testing import flow, properties

test_isolation = properties.failure_isolation(flow("flow.py", params={"disk_full": False}))


def test_a_full_disk_pages_cleans_up_and_fails_the_run(flowrun):
    r = flowrun("flow.py")
    assert r.exit_code == 1
    assert r["page_oncall"] == "paged: no space left on device"
    assert r["clean_up"].startswith("half a file removed")
    assert r.upstream == {"announce"}


def test_a_fallback_and_an_allowed_failure_leave_the_run_fine(flowrun):
    r = flowrun("flow.py", params={"disk_full": False})
    assert r.exit_code == 0
    assert r.failed == {"rates", "advert"}
    assert r["announce"] == "2 rates stored"
    assert r.states["page_oncall"] == "skipped"


def test_only_an_os_error_pages(flowrun, faults):
    r = flowrun("flow.py", faults=faults.fail("store", exc=ValueError))
    assert r.upstream == {"page_oncall", "announce"}
    assert r.states["incident"] == "ran"


def test_a_fallback_that_fails_too_is_a_failure(flowrun, faults):
    r = flowrun("flow.py", params={"disk_full": False}, faults=faults.fail("rates_of_yesterday"))
    assert r.exit_code == 1
    assert r.states["store"] == "upstream"
