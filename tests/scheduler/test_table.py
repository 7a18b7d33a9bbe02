"""The table of outcomes: annotation × how the upstream ended × trigger × mapped or not, all of it.

The model here is written from the language page (§6) and its rulings A1–A18, not from
``flowkit.scheduler.triggers``: for one upstream a table one can read, for several upstreams and for
triggers the sentences of the page.
"""

from itertools import product

import pytest
from graphs import Skip, graph, play, takes, words

from flowkit import Collected, Failure, Outcome, Skipped, Success
from flowkit.scheduler import Scheduler

E = KeyError

#: Annotation → what becomes of a task with that argument if its upstream …
#: R runs, S is SKIPPED, U is UPSTREAM.
ENDINGS = ("succeeded", "failed E", "failed other", "skipped", "upstream", "fell back")
TABLE = {
    #                           succ. E other skip. ups. fell back
    "T":                       "R     U   U   S    U     R",
    "T | None":                "R     U   U   S    U     R",
    "Success[T]":              "R     U   U   S    U     R",
    "Failure":                 "S     R   R   S    S     S",
    "Failure[E]":              "S     R   U   S    S     S",
    "Failure[E | OSError]":    "S     R   U   S    S     S",
    "Failure[LookupError]":    "S     R   U   S    S     S",
    "Skipped":                 "S     S   S   R    R     S",
    "Outcome[T]":              "R     R   R   R    R     R",
    "T | Failure":             "R     R   R   S    U     R",
    "T | Failure[E]":          "R     R   U   S    U     R",
    "T | Skipped":             "R     U   U   R    R     R",
    "T | Failure | Skipped":   "R     R   R   R    R     R",
    "T | Failure[E] | Skipped": "R    R   U   R    R     R",
    "Success[T] | Failure":    "R     R   R   S    U     R",
    "Success[T] | Failure[E]": "R     R   U   S    U     R",
    "Success[T] | Skipped":    "R     U   U   R    R     R",
    "Failure | Skipped":       "S     R   R   R    R     S",
    "Failure[E] | Skipped":    "S     R   U   R    R     S",
    "Optional[Failure]":       "R     R   R   S    U     R",
}  # fmt: skip
VERDICTS = {kind: dict(zip(ENDINGS, row.split(), strict=True)) for kind, row in TABLE.items()}
NAMES = {
    "T": int, "E": E, "Success": Success, "Failure": Failure, "Skipped": Skipped, "Outcome": Outcome,
    "Optional": lambda x: x | None, "OSError": OSError, "LookupError": LookupError,
}  # fmt: skip
ANNOTATIONS = {kind: eval(kind, NAMES) for kind in TABLE if "Optional" not in kind}  # noqa: S307 - written above
ANNOTATIONS["Optional[Failure]"] = Failure | None

TRIGGERS = (
    "all_succeeded", "all_failed", "all_done", "any_succeeded", "any_failed", "none_failed", "always",
)  # fmt: skip
STATES = {"R": "succeeded", "S": "skipped", "U": "upstream"}


def counts_as(ending):
    """How an upstream counts for a trigger: UPSTREAM as failed (A8), a stand-in as a success (A17)."""
    return {"succeeded": "s", "fell back": "s", "skipped": "k"}.get(ending, "f")


def met(trigger, counted):
    """The words of §6: what a trigger asks of all upstreams at once."""
    return {
        "all_succeeded": all(c == "s" for c in counted),
        "all_failed": all(c == "f" for c in counted),
        "all_done": True,
        "any_succeeded": "s" in counted,
        "any_failed": "f" in counted,
        "none_failed": "f" not in counted,
        "always": True,
    }[trigger]


def by_trigger(trigger, endings):
    """A2: UPSTREAM only if it would have run had the failed ones succeeded."""
    counted = [counts_as(e) for e in endings]
    if met(trigger, counted):
        return "R"
    mended = ["s" if c == "f" else c for c in counted]
    return "U" if "f" in counted and met(trigger, mended) else "S"


def together(verdicts):
    """Without a trigger: it runs if every argument is met, and is UPSTREAM if only failures are in the way."""
    if all(v == "R" for v in verdicts):
        return "R"
    return "S" if "S" in verdicts else "U"


def upstream(name, ending, each=()):
    """The tasks of one upstream that is to end this way, and the endings that make it so."""
    element = "[1]" if each else ""
    tasks = {}
    ends = {}
    asks = []
    options = {}
    if ending == "upstream":
        tasks[f"root_{name}"] = takes(each=each)
        ends[f"root_{name}{element}"] = OSError("root")
        asks = [f"root_{name}"]
    if ending == "fell back":
        tasks[f"stand_in_{name}"] = takes(each=each)
        options = {"fallback": f"stand_in_{name}"}
        ends[name + element] = E("own")
    if ending == "failed E":
        ends[name + element] = E("own")
    if ending == "failed other":
        ends[name + element] = ValueError("own")
    if ending == "skipped":
        ends[name + element] = Skip("why")
    tasks[name] = takes(*asks, each=each, options=options)
    return tasks, ends


def root(name, ending):
    """The node that is the cause if this upstream is in the way."""
    return f"root_{name}" if ending == "upstream" else name


def became(tasks, ends, lists=None):
    """Run; return id → node."""
    machine = Scheduler(graph(**tasks), slots=3)
    play(machine, ends, lists or {})
    assert machine.finished
    return {node.id: node for task in machine.states for node in machine.nodes(task)}


def mistakes(cases):
    """Return what differs from the model, in cases of (what, node, verdict, root ids, words of a SKIPPED's reason)."""
    wrong = []
    for what, node, verdict, roots, blamed in cases:
        found = (node.state.value, sorted(r.id for r in node.roots))
        wanted = (STATES[verdict], sorted(roots) if verdict == "U" else [])
        if found != wanted:
            wrong.append((what, found, wanted))
        elif verdict == "R":
            if node.reason:
                wrong.append((what, node.reason))
        elif verdict == "U":
            if not set(words(node.reason)) & set(roots) or "failed" not in node.reason:
                wrong.append((what, node.reason, roots))
        elif not set(words(node.reason)[:1]) <= set(blamed):
            wrong.append((what, node.reason, blamed))
    return wrong


def one_upstream(kind, trigger, mapped):
    for ending in ENDINGS:
        each = ["xs"] if mapped else ()
        tasks, ends = upstream("u", ending, each)
        if mapped:
            tasks = {"xs": takes()} | tasks
        tasks["t"] = takes(u=ANNOTATIONS[kind], options={"trigger": trigger})
        nodes = became(tasks, ends, {"xs": ["1", "2"]})
        verdict = by_trigger(trigger, [ending]) if trigger else VERDICTS[kind][ending]
        at = "[1]" if mapped else ""
        yield (kind, trigger, ending), nodes["t" + at], verdict, [root("u", ending) + at], ["u" + at]
        if mapped:  # its sibling, whose upstream succeeded, does not notice
            verdict = by_trigger(trigger, ["succeeded"]) if trigger else VERDICTS[kind]["succeeded"]
            yield (kind, trigger, "sibling"), nodes["t[2]"], verdict, [], ["u[2]"]


@pytest.mark.parametrize("mapped", [False, True], ids=["plain", "mapped"])
@pytest.mark.parametrize("trigger", [None, *TRIGGERS])
@pytest.mark.parametrize("kind", TABLE)
def test_one_upstream(kind, trigger, mapped):
    assert mistakes(one_upstream(kind, trigger, mapped)) == []


def below_a_missing_list(kind, trigger):
    """The one node in the place of elements is an upstream like any, and so is who follows it."""
    for ending in ("failed E", "failed other", "upstream", "skipped"):
        ends = {"upstream": {"xs": OSError("root")}, "skipped": {"xs": Skip("why")}}.get(ending, {})
        lists = {"xs": E("own") if ending == "failed E" else ValueError("own")}
        tasks = {"xs": takes(), "u": takes(each=["xs"]), "t": takes(u=ANNOTATIONS[kind], options={"trigger": trigger})}
        tasks["after"] = takes("t")
        nodes = became(tasks, ends, lists)
        verdict = by_trigger(trigger, [ending]) if trigger else VERDICTS[kind][ending]
        roots = ["xs" if ending == "upstream" else "u"]
        yield (kind, trigger, ending), nodes["t"], verdict, roots, ["u"]
        yield (kind, trigger, ending, "after"), nodes["after"], verdict, roots, ["t"]


@pytest.mark.parametrize("trigger", [None, *TRIGGERS])
@pytest.mark.parametrize("kind", TABLE)
def test_below_a_missing_list(kind, trigger):
    assert mistakes(below_a_missing_list(kind, trigger)) == []


def two_upstreams(kind):
    for other, one, two in product(TABLE, ENDINGS, ENDINGS):
        tasks_u, ends_u = upstream("u", one)
        tasks_v, ends_v = upstream("v", two)
        tasks = {**tasks_u, **tasks_v, "t": takes(u=ANNOTATIONS[kind], v=ANNOTATIONS[other])}
        node = became(tasks, ends_u | ends_v)["t"]
        verdicts = {"u": VERDICTS[kind][one], "v": VERDICTS[other][two]}
        roots = [root(name, how) for name, how in (("u", one), ("v", two)) if verdicts[name] == "U"]
        blamed = [name for name in "uv" if verdicts[name] == "S"]
        yield (kind, other, one, two), node, together(verdicts.values()), roots, blamed


@pytest.mark.parametrize("kind", TABLE)
def test_two_upstreams(kind):
    assert mistakes(two_upstreams(kind)) == []


def an_argument_and_a_need(kind):
    for one, two in product(ENDINGS, ENDINGS):
        tasks_u, ends_u = upstream("u", one)
        tasks_v, ends_v = upstream("v", two)
        tasks = {**tasks_u, **tasks_v, "t": takes(u=ANNOTATIONS[kind], needs=["v"])}
        node = became(tasks, ends_u | ends_v)["t"]
        verdicts = {"u": VERDICTS[kind][one], "v": VERDICTS["T"][two]}  # a need must succeed (A5)
        roots = [root(name, how) for name, how in (("u", one), ("v", two)) if verdicts[name] == "U"]
        blamed = [name for name in "uv" if verdicts[name] == "S"]
        yield (kind, one, two), node, together(verdicts.values()), roots, blamed


@pytest.mark.parametrize("kind", TABLE)
def test_an_argument_and_a_need(kind):
    assert mistakes(an_argument_and_a_need(kind)) == []


def in_the_way(trigger, endings):
    """Which upstreams the reason of a SKIPPED may name."""
    unwanted = "sk" if trigger in ("all_failed", "any_failed") else "k"
    return [name for name, ending in zip("uvw", endings, strict=False) if counts_as(ending) in unwanted]


def triggered(trigger, need):
    for endings in [*product(ENDINGS, repeat=2), *product(ENDINGS, repeat=3)]:
        tasks, ends = {}, {}
        for name, ending in zip("uvw", endings, strict=False):
            more, how = upstream(name, ending)
            tasks |= more
            ends |= how
        names = "uvw"[: len(endings)]
        if need:
            tasks["t"] = takes(needs=list(names), options={"trigger": trigger})
        else:
            tasks["t"] = takes(*names, options={"trigger": trigger})
        node = became(tasks, ends)["t"]
        failed = [n for n, e in zip(names, endings, strict=True) if counts_as(e) == "f"]
        roots = [root(n, e) for n, e in zip(names, endings, strict=True) if n in failed]
        yield (trigger, endings), node, by_trigger(trigger, endings), roots, in_the_way(trigger, endings)


@pytest.mark.parametrize("need", [False, True], ids=["arguments", "needs"])
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_over_several_upstreams(trigger, need):
    assert mistakes(triggered(trigger, need)) == []


def collected_by(kind, trigger):
    """What becomes of a collector over two elements: the first ends this way, the second that way.

    Only one that wants plain values needs every element, and then what was skipped is absent.
    An element that is UPSTREAM counts as failed (A4), unless the collector takes a ``Skipped``.
    """
    wants_values = kind.split(" | ")[0] == "T" or kind == "Optional[Failure]"
    for one, two in product(ENDINGS, ENDINGS):
        tasks = {"xs": takes()}
        ends = {}
        for name, ending, place in (("u", one, "1"), ("u", two, "2")):
            more, how = upstream(name, ending, ["xs"])
            tasks |= {k: v for k, v in more.items() if k != name}
            ends |= {k.replace("[1]", f"[{place}]"): v for k, v in how.items()}
        asks = ["root_u"] if "root_u" in tasks else []
        fallback = {"fallback": "stand_in_u"} if "stand_in_u" in tasks else {}
        if fallback:  # an element that shall stay failed, though the other falls back
            for ending, place in ((one, "1"), (two, "2")):
                if ending in ("failed E", "failed other"):
                    ends[f"stand_in_u[{place}]"] = OSError("no help")
        tasks["u"] = takes(*asks, each=["xs"], options=fallback)
        tasks["t"] = takes(u=Collected[ANNOTATIONS[kind]], options={"trigger": trigger})
        node = became(tasks, ends, {"xs": ["1", "2"]})["t"]
        lacking = {
            place: ending
            for place, ending in (("1", one), ("2", two))
            if counts_as(ending) == "f" and VERDICTS[kind][ending] != "R"
        }
        if trigger:
            verdict = by_trigger(trigger, [one, two])
            lacking = {p: e for p, e in (("1", one), ("2", two)) if counts_as(e) == "f"}
        else:
            verdict = "U" if wants_values and lacking else "R"
        roots = [f"{root('u', ending)}[{place}]" for place, ending in lacking.items()]
        yield (kind, trigger, one, two), node, verdict, roots, ["u[1]", "u[2]"], lacking


@pytest.mark.parametrize("trigger", [None, *TRIGGERS])
@pytest.mark.parametrize("kind", TABLE)
def test_a_collector(kind, trigger):
    wrong = []
    for *case, lacking in collected_by(kind, trigger):
        what, node, verdict, roots, _ = case
        if trigger or verdict != "U":
            wrong += mistakes([case])
            continue
        shown = f"{len(lacking)} of 2 `u` failed: {', '.join(lacking)}"
        found = (node.state.value, node.reason, [r.id for r in node.roots])
        if found != ("upstream", shown, roots):
            wrong.append((what, found, (shown, roots)))
    assert wrong == []


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_over_nothing_gathered(trigger):
    """Of no upstreams all did anything, and none did any."""
    tasks = {"xs": takes(), "u": takes(each=["xs"]), "t": takes(u=Collected[int], options={"trigger": trigger})}
    node = became(tasks, {}, {"xs": []})["t"]
    assert node.state.value == STATES[by_trigger(trigger, [])]


@pytest.mark.parametrize("length", [1, 5, 50])
def test_upstream_is_transitive_and_names_the_root(length):
    """A1: however far below."""
    tasks = {"a": takes()} | {f"b{i}": takes(f"b{i - 1}" if i else "a") for i in range(length)}
    nodes = became(tasks, {"a": OSError()})
    last = nodes[f"b{length - 1}"]
    assert (last.state.value, last.reason, [r.id for r in last.roots]) == ("upstream", "`a` failed", ["a"])


def test_a_skip_is_passed_on_with_its_reason():
    nodes = became({"a": takes(), "b": takes("a"), "c": takes("b")}, {"a": Skip("no data")})
    assert nodes["b"].reason == "`a` was skipped: no data"
    assert nodes["c"].state.value == "skipped"


def test_a_handler_below_an_upstream_is_skipped_and_says_why():
    """A7: a Failure argument means its own failure."""
    nodes = became({"raw": takes(), "load": takes("raw"), "page": takes(load=Failure)}, {"raw": OSError()})
    assert nodes["page"].state.value == "skipped"
    assert nodes["page"].reason == "`load` did not run: `raw` failed"
