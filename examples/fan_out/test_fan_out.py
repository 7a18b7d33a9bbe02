"""A fan-out under test: other lists, a failed element, and what holds in any order, after any crash and any edit."""

from flowkit.testing import flow, properties

F = flow("flow.py")

test_order = properties.order_independent(F)
test_restart = properties.resume_equals_clean(F)
test_edits = properties.edit_precision(F)


def test_totals_are_by_region_and_leave_out_days_without_sales(flowrun):
    r = flowrun("flow.py")
    assert r["report"] == "north: 176 (Ayr-mon, Leith-mon, Leith-tue)\nsouth: 84 (Bath-tue)"
    assert r.skipped >= {"sold[north-Ayr-tue]", "takings[north-Ayr-tue]", "sold[south-Bath-mon]"}


def test_a_part_of_a_region_is_never_taken_for_the_whole(flowrun, faults):
    r = flowrun("flow.py", faults=faults.fail("sold[north-Ayr-mon]"))
    assert r.states["total[north]"] == "upstream"
    assert r["total[south]"] == "south: 84 (Bath-tue)"
    assert r.rerun().calls == [
        "sold[north-Ayr-mon]", "takings[north-Ayr-mon]", "total[north]", "report",
    ]  # fmt: skip


def test_one_more_day_runs_no_old_one_again(flowrun):
    first = flowrun("flow.py", override={"days": {"mon": 0}})
    assert first["total[south]"] == "south: 0 ()"
    again = first.rerun(override={"days": {"mon": 0, "tue": 1}})
    assert again.states["sold[north-Leith-mon]"] == "cached"
    assert "sold[north-Leith-tue]" in again.calls
