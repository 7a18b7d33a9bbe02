"""``--html``: one page with all of a run, that asks nobody for anything and lets nothing in.

What the page's script makes of it is looked at in a real browser, where there is one.
"""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flowkit.errors import FlowError
from flowkit_plugins.html.page import as_data

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")

EVIL = "</script><script>document.title='evil'</script><img src=x onerror=document.title='evil'>"

FLOW = f"""
    import time
    from flowkit import Collected, resource, skip, task
    from flowkit_plugins.retry import Retry
    from pydantic import SecretStr

    tried = []

    @resource
    def box():
        yield 1
        raise OSError("will not close")

    @task
    def cities() -> list[str]: return ["a", "b", "c", "d"]

    @task(each={{"city": "cities"}}, retries=Retry(times=1, delay="80ms", jitter=False))
    def fetch(city: str, token: SecretStr = SecretStr("hunter2!")) -> str:
        print("asking", city, token.get_secret_value(), {EVIL!r})
        if city == "b" or (city == "d" and "d" not in tried):
            tried.append(city)
            raise ValueError({EVIL!r} + token.get_secret_value())
        if city == "c": skip("no c")
        return city

    @task
    def report(fetch: Collected[str]): ...

    @task(allow_failure=True)
    def advert(box): raise LookupError("none today")
"""


def facts_of(text):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(found[1])


def by_id(facts):
    found = {}
    for node in facts["nodes"]:
        name = facts["tasks"][node[0]]["name"]
        found[f"{name}[{node[1]}]" if node[1] else name] = node
    return found


@pytest.fixture
def written(project):
    project.write("m.py", FLOW)
    project.run("m.py", html="page.html", executor="inline")
    return project.read("page.html")


class Tags(HTMLParser):
    """The tags of a page, and what in them could lead out of it."""

    def __init__(self):
        super().__init__()
        self.tags, self.leads = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.leads += [f"{name}={value}" for name, value in attributes if name in ("src", "href", "srcset", "action")]


# --- the file ---------------------------------------------------------------------------------


def test_the_page_needs_nothing_else_and_may_not_ask(written):
    tags = Tags()
    tags.feed(written)
    assert tags.leads == []
    assert tags.tags.count("script") == 2
    assert "img" not in tags.tags
    assert "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'" in written
    assert set(re.findall(r"https?://[^\s\"']+", written)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(|innerHTML|insertAdjacentHTML|document\.write|eval\(", written)


def test_what_users_say_is_data_and_never_markup(written):
    assert written.count("</script>") == 2
    assert EVIL not in written
    assert as_data({"a": "</script>&"}) == '{"a":"\\u003c/script\\u003e\\u0026"}'


def test_no_secret_is_in_the_page(written):
    assert "hunter2" not in written
    assert ["token", "**********"] in facts_of(written)["run"]["params"]


def test_the_page_knows_every_node_and_how_it_ended(written):
    nodes = by_id(facts_of(written))
    assert {name: node[2] for name, node in nodes.items()} == {
        "cities": "ran", "fetch[a]": "ran", "fetch[b]": "failed", "fetch[c]": "skipped", "fetch[d]": "ran",
        "report": "upstream", "advert": "failed",
    }  # fmt: skip
    assert nodes["advert"][7] == "allowed to fail"


def test_a_node_waits_from_when_its_own_elements_had_ended(project):
    project.write(
        "m.py",
        """
        import time
        from flowkit import Collected, task
        @task
        def ids() -> list[int]: return [0, 1]
        @task(each={"i": "ids"})
        def a(i: int): time.sleep(0.05); return i
        @task
        def b(a: int): return a
        @task
        def c(b: Collected[int]): return sum(b)
        """,
    )
    project.run("m.py", html="page.html", n=1)
    nodes = by_id(facts_of(project.read("page.html")))
    ready, end = 4, 5
    assert nodes["ids"][ready] == 0
    assert nodes["a[1]"][ready] == nodes["ids"][end]
    assert nodes["a[1]"][8][0] >= nodes["a[0]"][end]
    assert nodes["b[0]"][ready] == nodes["a[0]"][end]
    assert nodes["c"][ready] == max(nodes["b[0]"][end], nodes["b[1]"][end])


def test_attempts_and_the_wait_between_are_told_apart(written):
    start, end, kind, again, _, last = by_id(facts_of(written))["fetch[d]"][8]
    assert (kind, last) == ("error", "success")
    assert again - end >= 0.08 > end - start


def test_a_reused_node_has_no_attempt(project):
    project.write("m.py", "from flowkit import task\n@task\ndef a(): return 1")
    project.run("m.py")
    project.run("m.py", html="page.html")
    (node,) = facts_of(project.read("page.html"))["nodes"]
    assert (node[2], node[8]) == ("cached", [])


def test_a_failure_comes_with_its_output_and_the_command_that_runs_it_again(written):
    facts = facts_of(written)
    place = next(i for i, n in enumerate(facts["nodes"]) if n[1] == "b")
    found = facts["details"][str(place)]
    assert found["rerun"].endswith("'m.py::fetch[b]'")
    assert [attempt["output"][0][0] for attempt in found["attempts"]] == ["Captured stdout"] * 2
    assert "in fetch" in found["attempts"][1]["traceback"]
    assert facts["teardowns"][0]["error"] == "OSError: will not close"


def test_output_beyond_what_a_page_can_hold_is_left_out_and_failures_come_first(project, monkeypatch):
    from flowkit_plugins.html import data

    monkeypatch.setattr(data, "ALL", 5000)
    project.write(
        "m.py",
        "from flowkit import task\n@task\ndef first():\n  print('x' * 4000)\n@task\ndef second(first):\n  print('y' * 4000)\n  raise ValueError",
    )
    project.run("m.py", html="page.html")
    text = project.read("page.html")
    assert "y" * 4000 in text
    assert "x" * 4000 not in text
    assert "flowkit logs" in text


def test_an_interrupted_run_has_its_page(project):
    project.write("m.py", "import os, signal, time\nfrom flowkit import task\n@task\ndef a(): os.kill(os.getpid(), signal.SIGINT); time.sleep(30)\n@task\ndef b(a): ...")
    assert project.flowkit("run", "m.py", "--html", "page.html").exit_code == 2
    facts = facts_of(project.read("page.html"))
    assert facts["run"]["status"] == "interrupted"
    assert {node[2] for node in facts["nodes"]} == {"not run"}


def test_a_page_that_cannot_be_written_is_refused_before_anything_runs(project):
    project.write("m.py", "from flowkit import task\n@task\ndef a(): open('ran', 'w')")
    with pytest.raises(FlowError, match="--html"):
        project.run("m.py", html=".")
    assert not (project.root / "ran").exists()


def test_ten_thousand_nodes_make_a_page_of_a_megabyte(project):
    project.write("m.py", MANY)
    project.run("m.py", html="page.html")
    assert (project.root / "page.html").stat().st_size < 1_500_000
    assert len(facts_of(project.read("page.html"))["nodes"]) == 10_002


# --- in a browser -----------------------------------------------------------------------------

MANY = """
    from flowkit import Collected, task
    @task
    def ids() -> list[int]: return list(range(5000))
    @task(each={"i": "ids"})
    def a(i: int): return i
    @task
    def b(a: int): return a
    @task
    def c(b: Collected[int]): return len(b)
"""

#: Does what a reader would once the page is drawn (a busy machine takes its time), and writes down what there is.
PROBE = """
<script>
const errors = [];
addEventListener("error", (e) => errors.push(String(e.message)));
addEventListener("securitypolicyviolation", (e) => errors.push("policy: " + e.violatedDirective));
setTimeout(function look() {
  const page = document.querySelector("iframe")?.contentDocument || document;
  if (!page.documentElement?.dataset.drawn) { setTimeout(look, 50); return; }
  let seen;
  try { seen = (() => { %s })(); } catch (e) { seen = { thrown: String(e) }; }
  document.body.replaceChildren();
  document.body.dataset.seen = JSON.stringify({ ...seen, errors, title: document.title, requests: performance.getEntriesByType("resource").length });
}, 400);
</script>
"""


def looked_at(page: Path, code: str, *flags: str, width: int = 1280) -> dict:
    """What the code finds on the page, in a browser with a window of that width."""
    copy = page.with_name(f"probe_{width}.html")
    text = page.read_text(encoding="utf-8").replace("<body>", "<body>" + PROBE % code, 1)
    copy.write_text(text, encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000", "--dump-dom",
        f"--user-data-dir={page.parent / f'browser{width}'}", f"--window-size={width},900", *flags, copy.as_uri(),
    ]  # fmt: skip
    dumped = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    class Seen(HTMLParser):
        found = None

        def handle_starttag(self, tag, attributes):
            Seen.found = dict(attributes).get("data-seen") or Seen.found

    Seen().feed(dumped.stdout)
    assert Seen.found, dumped.stderr
    seen = json.loads(Seen.found)
    assert "thrown" not in seen, seen
    return seen


@browser
def test_a_browser_shows_all_parts_and_runs_nothing_of_the_users(written, project):
    seen = looked_at(
        project.root / "page.html",
        """return {
          parts: [...document.querySelectorAll("main > section")].map((e) => e.id),
          status: document.querySelector(".status").textContent, failures: document.querySelectorAll(".failure").length,
          boxes: document.querySelectorAll(".box").length, rows: document.querySelectorAll("#timeline .row").length,
          table: document.querySelectorAll(".nrow").length, images: document.images.length, text: document.querySelector("#failures").textContent,
        };""",
    )
    assert (seen["errors"], seen["requests"], seen["images"]) == ([], 0, 0)
    assert seen["title"].startswith("failed · m ")
    assert seen["parts"] == ["", "failures", "graph", "timeline", "nodes", "output"]
    assert seen["status"] == "Failed"
    assert (seen["failures"], seen["boxes"], seen["rows"], seen["table"]) == (3, 4, 4, 7)
    assert "</script><script>" in seen["text"]
    assert "flowkit run 'm.py::fetch[b]'" in seen["text"]


@browser
def test_a_reader_opens_a_task_filters_nodes_and_looks_at_one(written, project):
    seen = looked_at(
        project.root / "page.html",
        """
        document.querySelector("#timeline .row[aria-expanded]").click();
        const rows = [...document.querySelectorAll("#timeline .row")].map((e) => e.textContent);
        const kinds = (text) => [...[...document.querySelectorAll("#timeline .row.child")].find((e) => e.querySelector(".text").textContent === text).querySelectorAll(".seg")].map((e) => e.classList[1]);
        const retried = kinds("d").filter((k) => k !== "ready");
        const says = [...document.querySelectorAll("#timeline .row.child")].map((e) => e.getAttribute("aria-label"));
        const input = document.querySelector("input[type=search]");
        input.value = "fetch[c"; input.dispatchEvent(new Event("input"));
        const found = [...document.querySelectorAll(".nrow .id")].map((e) => e.textContent);
        document.querySelector(".nrow").click();
        const dialog = document.querySelector("dialog");
        return { rows: rows.length, retried, says, found, open: dialog.open, dialog: dialog.textContent };""",
    )
    assert seen["errors"] == []
    assert seen["rows"] == 8
    assert seen["retried"] == ["fail", "parked", "run"]
    assert any("for its retry, attempt 2 succeeded" in line for line in seen["says"])
    assert seen["found"] == ["fetch[c]"]
    assert seen["open"]
    assert "no c" in seen["dialog"]
    assert "skipped itself after" in seen["dialog"]
    assert "[object" not in seen["dialog"]


@browser
def test_ten_thousand_nodes_are_drawn_as_few_elements(project):
    project.write("m.py", MANY)
    project.run("m.py", html="page.html")
    seen = looked_at(
        project.root / "page.html",
        """
        const before = document.querySelectorAll("*").length;
        document.querySelectorAll("#timeline .row[aria-expanded]")[0].click();
        const frame = document.querySelector("#timeline .window");
        frame.scrollTop = 100000; frame.dispatchEvent(new Event("scroll"));
        const labels = [...document.querySelectorAll("#timeline .row .text")].map((e) => e.textContent);
        return { before, after: document.querySelectorAll("*").length, first: Number(labels[0]), took: performance.now() };""",
    )
    assert seen["errors"] == []
    assert seen["before"] < 1000
    assert seen["after"] < 1200
    assert seen["first"] > 3000
    assert seen["took"] < 5000


@browser
def test_arrow_keys_move_through_rows_and_enter_opens_a_box(written, project):
    seen = looked_at(
        project.root / "page.html",
        """
        const press = (on, key) => on.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        document.querySelector(".nrow").focus();
        press(document.activeElement, "ArrowDown"); press(document.activeElement, "ArrowDown");
        const at = document.activeElement.querySelector(".id").textContent;
        press(document.querySelectorAll(".box")[0], "Enter");
        return { at, open: document.querySelector("dialog").open };""",
    )
    assert (seen["errors"], seen["at"], seen["open"]) == ([], "fetch[b]", True)


@browser
@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_texts_can_be_read_in_light_and_dark(written, project, scheme):
    """Contrast of at least 4.5 to 1, as WCAG AA asks."""
    seen = looked_at(
        project.root / "page.html",
        """
        const rgb = (text) => text.match(/[0-9.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } };
        const poor = [];
        for (const e of document.querySelectorAll("h1, h2, .soft, .badge, .status, dd, dt, pre, .wrong, .chip, .nrow, .why, .label .text, .many, .axis span")) {
          const one = light(rgb(getComputedStyle(e).color)), other = light(behind(e));
          const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
          if (ratio < 4.5) poor.push(`${e.className || e.tagName}: ${ratio.toFixed(2)}`);
        }
        return { poor: [...new Set(poor)], paper: getComputedStyle(document.body).backgroundColor };""",
        f"--blink-settings=preferredColorScheme={scheme}",
    )
    assert seen["errors"] == []
    assert seen["poor"] == []
    assert seen["paper"] == ("rgb(18, 21, 26)" if scheme == 0 else "rgb(246, 247, 249)")


@browser
def test_on_a_phone_nothing_sticks_out(written, project):
    """A browser's window is 500 wide at the least; a frame in it is as narrow as a phone."""
    project.write("phone.html", "<body><iframe src='page.html' style='width:375px;height:800px;border:0'></iframe></body>")
    seen = looked_at(
        project.root / "phone.html",
        """
        const inside = document.querySelector("iframe").contentDocument;
        const out = [...inside.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > 375 && !e.closest(".graph, pre, .row, .nrow"));
        return { wide: inside.documentElement.scrollWidth, out: out.map((e) => e.className || e.tagName), drawn: inside.documentElement.dataset.drawn };""",
        "--allow-file-access-from-files",
        width=600,
    )
    assert (seen["errors"], seen["drawn"], seen["out"]) == ([], "7", [])
    assert seen["wide"] <= 375
