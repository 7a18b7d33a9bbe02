"""Capture: what an attempt prints and logs stays with it; all else goes where it always went."""

from __future__ import annotations

import contextlib
import contextvars
import io
import logging
import pickle
import sys
import threading
import warnings
from dataclasses import dataclass

import pydantic
import pytest
from plugin_attempts import a_run, a_session, an_attempt, inside, the_report

from flowkit_plugins import capture
from flowkit_plugins.capture.outputs import HALF


@contextlib.contextmanager
def own_streams():
    """Streams, and a root logger without handlers. No fixture: pytest sets its own at each call."""
    before = sys.stdout, sys.stderr, logging.root.handlers[:]
    ours = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    sys.stdout, sys.stderr = ours
    logging.root.handlers[:] = []
    try:
        yield ours
    finally:
        sys.stdout, sys.stderr, logging.root.handlers[:] = before
    assert not capture.redirection.captured
    assert not capture.redirection.shown


def alone(test):
    """Decorate a test: it gets streams of its own, stdout and stderr."""

    def with_streams():
        with own_streams() as streams:
            test(streams)

    with_streams.__doc__ = test.__doc__
    return with_streams


def shown(stream):
    """What reached a stream of ours."""
    return stream.buffer.getvalue().decode()


class Captured:
    """A session with a run that goes on."""

    def __init__(self, run=None):
        self.run = run or a_run()
        self.session = a_session(capture)
        self.ended = self.session.plugins.caller("flowkit_attempt_ended")
        self.session.plugins.all("flowkit_run_started", run=self.run)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.plugins.all("flowkit_run_ended", report=the_report(self.run))

    def attempt(self, **fields):
        return an_attempt(run=self.run, **fields)

    def sections(self, attempt):
        """End an attempt and return title → lines."""
        self.ended(attempt)
        return {s.title: list(s.lines) for s in attempt.sections or ()}


@alone
def test_what_an_attempt_prints_becomes_its_sections(streams):
    with Captured() as it:
        with inside(it.attempt()) as attempt:
            print("one")
            print("two", end="")
            print("careful", file=sys.stderr)
            sys.stdout.writelines(["!", "\n"])
            sys.stdout.flush()
        assert it.sections(attempt) == {
            "Captured stdout": ["one", "two!"],
            "Captured stderr": ["careful"],
        }
    assert shown(streams[0]) == shown(streams[1]) == ""


@alone
def test_text_outside_of_attempts_goes_where_it_always_went(streams):
    with Captured():
        print("header")
        sys.stdout.buffer.write(b"bytes\n")
        print("oops", file=sys.stderr)
    assert shown(streams[0]) == "header\nbytes\n"
    assert shown(streams[1]) == "oops\n"


def test_an_attempt_that_prints_nothing_keeps_nothing():
    with Captured() as it:
        with inside(it.attempt()) as attempt:
            sys.stdout.flush()
        assert attempt.stash is None
        assert it.sections(attempt) == {}
        assert attempt.sections is None


def test_attempts_in_threads_do_not_mix():
    with Captured() as it:
        turn = threading.Barrier(4)
        attempts = [it.attempt(element=str(i)) for i in range(4)]

        def body(attempt):
            with inside(attempt):
                for line in range(50):
                    turn.wait()
                    print(attempt.node, line)
                    logging.getLogger("m").warning("%s %d", attempt.node, line)

        threads = [threading.Thread(target=body, args=(a,)) for a in attempts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for attempt in attempts:
            found = it.sections(attempt)
            assert found["Captured stdout"] == [f"{attempt.node} {n}" for n in range(50)]
            assert len(found["Captured log"]) == 50
            assert all(
                line.endswith(f"{attempt.node} {n}") for n, line in enumerate(found["Captured log"])
            )


def test_coroutines_and_copied_contexts_belong_to_their_attempt():
    with Captured() as it:
        with inside(it.attempt()) as attempt:
            context = contextvars.copy_context()
        context.run(print, "from afar")
        assert it.sections(attempt) == {"Captured stdout": ["from afar"]}


@alone
def test_log_records_are_kept_in_one_line_each_with_level_and_place(streams):
    with Captured() as it:
        with inside(it.attempt()) as attempt:
            logging.getLogger("shop").warning("low on %s", "milk")
            logging.getLogger("shop").info("below the root's level")
        ((line,),) = it.sections(attempt).values()
        assert line.startswith("WARNING  shop:test_capture.py:")
        assert line.endswith(" low on milk")
    assert logging.root.handlers == []
    assert logging.root.level == logging.WARNING


@alone
def test_a_record_outside_of_attempts_still_meets_the_last_resort(streams):
    with Captured():
        logging.getLogger("shop").warning("main thread")
        logging.getLogger("shop").info("too low for it")
    assert shown(streams[1]) == "main thread\n"


@alone
def test_handlers_of_basic_config_write_to_the_attempt_too(streams):
    logging.basicConfig(format="%(message)s", force=True)
    with Captured() as it:
        with inside(it.attempt()) as attempt:
            logging.getLogger().warning("inside")
        logging.getLogger().warning("outside")
        assert it.sections(attempt)["Captured stderr"] == ["inside"]
    assert shown(streams[1]) == "outside\n"
    assert logging.root.handlers[0].stream is streams[1]


def test_warnings_are_captured_stderr():
    with Captured() as it:
        with inside(it.attempt()) as attempt, warnings.catch_warnings():
            warnings.simplefilter("always")
            sys.stderr.write(warnings.formatwarning("old", UserWarning, "f.py", 1))
        assert "UserWarning: old" in it.sections(attempt)["Captured stderr"][0]


def test_bytes_are_decoded_and_what_cannot_be_is_replaced():
    with Captured() as it:
        with inside(it.attempt()) as attempt:
            sys.stdout.buffer.write(b"caf\xc3")
            sys.stdout.buffer.write(b"\xa9\nbad: \xff\n")
            sys.stdout.buffer.flush()
        assert it.sections(attempt) == {"Captured stdout": ["café", "bad: \ufffd"]}


def test_a_progress_bar_leaves_its_last_state():
    with Captured() as it:
        with inside(it.attempt()) as attempt:
            sys.stdout.write(" 10%\r 50%\r100%\nwindows\r\n\n")
        assert it.sections(attempt) == {"Captured stdout": ["100%", "windows", ""]}


class Terminal(io.TextIOWrapper):
    def isatty(self):
        return True


@alone
def test_a_stream_is_no_terminal_inside_an_attempt_and_itself_outside(streams):
    sys.stdout = streams[0] = Terminal(io.BytesIO(), "utf-8")
    with Captured() as it:
        assert sys.stdout.isatty()
        assert sys.stdout.encoding == "utf-8"
        with inside(it.attempt()):
            assert not sys.stdout.isatty()
            with pytest.raises(TypeError, match="must be str, not bytes"):
                sys.stdout.write(b"x")
            sys.stdout.close()
        assert not sys.stdout.closed
        with pytest.raises(io.UnsupportedOperation):  # what the stream below says
            sys.stdout.fileno()


def test_a_value_that_holds_the_stream_arrives_with_the_stream_there():
    with Captured():
        assert pickle.loads(pickle.dumps({"to": sys.stdout}))["to"] is sys.stdout


def test_of_a_very_long_text_the_beginning_and_the_end_are_kept():
    with Captured() as it:
        with inside(it.attempt()) as attempt:
            print("first")
            for _ in range(40):
                print("x" * (HALF // 8))
            print("last")
        (lines,) = it.sections(attempt).values()
    assert lines[0] == "first"
    assert lines[-1] == "last"
    (gap,) = [line for line in lines if "left out" in line]
    whole = len("first\nlast\n") + 40 * (HALF // 8 + 1)
    assert gap == f"… {whole - 2 * HALF:,} characters left out …"
    assert sum(len(line) + 1 for line in lines) < 2 * HALF + 100


def test_a_text_just_short_of_the_limit_is_whole():
    with Captured() as it:
        with inside(it.attempt()) as attempt:
            sys.stdout.write("a" * HALF)
            sys.stdout.write("b" * HALF)
        assert it.sections(attempt) == {"Captured stdout": ["a" * HALF + "b" * HALF]}


# --- runs -------------------------------------------------------------------------------------


@alone
def test_streams_are_restored_exactly(streams):
    with Captured():
        assert sys.stdout is not streams[0]
    assert [sys.stdout, sys.stderr] == streams


@alone
def test_the_last_of_several_runs_restores_them(streams):
    with Captured(a_run("r1")) as one:
        two = Captured(a_run("r2"))
        with inside(two.attempt()) as theirs:
            print("second run")
        with inside(one.attempt()) as ours:
            print("first run")
        assert one.sections(ours) == {"Captured stdout": ["first run"]}
        assert two.sections(theirs) == {"Captured stdout": ["second run"]}
        two.__exit__()
        assert sys.stdout is not streams[0]
    assert [sys.stdout, sys.stderr] == streams


@alone
def test_a_stream_that_somebody_put_there_meanwhile_stays(streams):
    with Captured():
        theirs = sys.stdout = io.StringIO()
    assert sys.stdout is theirs


@alone
def test_what_kept_the_proxy_still_reaches_the_stream_afterwards(streams):
    with Captured():
        kept = sys.stdout
    kept.write("late")
    assert shown(streams[0]) == "late"


@alone
def test_a_run_that_was_cut_short_is_let_go_of(streams):
    it = Captured()
    it.session.plugins.all("flowkit_unconfigure", session=it.session)
    assert [sys.stdout, sys.stderr] == streams
    assert logging.root.handlers == []


@alone
def test_a_missing_stream_stays_missing(streams):
    sys.stdout = None
    with Captured():
        assert sys.stdout is None
    assert sys.stdout is None


@alone
def test_a_run_without_the_plugin_is_left_alone(streams):
    with Captured(a_run("r1")), inside(an_attempt(run=a_run("r2"))) as attempt:
        print("plain")
        assert attempt.stash is None
    assert shown(streams[0]) == "plain\n"


@alone
def test_no_capture_leaves_streams_alone_and_shows_logs_that_nobody_else_shows(streams):
    with Captured(a_run(no_capture=True)) as it:
        assert [sys.stdout, sys.stderr] == streams
        logging.root.setLevel(logging.INFO)
        with inside(it.attempt()) as attempt:
            print("plain")
            logging.getLogger("m").info("seen")
        logging.root.setLevel(logging.WARNING)
        assert it.sections(attempt) == {}
    assert shown(streams[0]) == "plain\n"
    assert shown(streams[1]).endswith(" seen\n")


def test_no_capture_is_a_flag_of_run():
    ((_, (flag,)),) = a_session(capture).plugins.all("flowkit_run_options")
    assert (flag.name, flag.short, flag.keyword, flag.type) == (
        "--no-capture",
        "-s",
        "no_capture",
        bool,
    )


def test_sections_are_there_before_any_other_plugin_looks():
    seen = []
    it = Captured()

    class Terminal:
        @staticmethod
        @capture.hookimpl
        def flowkit_attempt_ended(attempt):
            seen.append([s.title for s in attempt.sections])

    with it:
        it.session.plugins.register(Terminal(), "terminal")
        with inside(it.attempt()) as attempt:
            print("x")
        it.session.plugins.caller("flowkit_attempt_ended")(attempt)
    assert seen == [["Captured stdout"]]


# --- secrets ----------------------------------------------------------------------------------


@dataclass
class Login:
    user: str
    password: pydantic.SecretStr


class Config(pydantic.BaseModel):
    token: pydantic.SecretStr = pydantic.SecretStr("model-token")


SECRETS = {
    "plain": "hunter2 is no secret",
    "password": pydantic.SecretStr("pass\nword"),
    "key": pydantic.SecretBytes(b"raw\xffkey"),
    "short": pydantic.SecretStr("abc"),
    "longer": pydantic.SecretStr("abcd"),
    "login": Login("me", pydantic.SecretStr("s3cret")),
    "config": Config(),
    "many": [{"a": (pydantic.SecretStr("nested!"),)}],
}


def masked(text):
    with Captured(a_run(params=SECRETS)) as it:
        with inside(it.attempt()) as attempt:
            sys.stdout.write(text)
        (lines,) = it.sections(attempt).values()
    return "\n".join(lines)


@pytest.mark.parametrize(
    "secret",
    [
        "pass\nword",
        r"pass\nword",
        "raw\ufffdkey",
        r"raw\xffkey",
        "abcd",
        "s3cret",
        "model-token",
        "nested!",
    ],
)
def test_secrets_are_masked_wherever_in_the_parameters_they_are(secret):
    assert masked(f"<{secret}>") == "<**********>"


def test_short_secrets_and_plain_parameters_are_not_masked():
    assert masked("abc hunter2 is no secret") == "abc hunter2 is no secret"


def test_a_secret_written_in_two_goes_is_masked_and_so_is_one_in_the_log():
    with Captured(a_run(params=SECRETS)) as it:
        with inside(it.attempt()) as attempt:
            print("s3c", end="")
            print("ret")
            logging.getLogger("m").warning("token %s", "model-token")
        found = it.sections(attempt)
    assert found["Captured stdout"] == ["**********"]
    assert found["Captured log"][0].endswith("token **********")


def test_no_part_of_a_secret_survives_where_a_text_is_cut():
    for shift in range(8):
        text = masked(
            "-" * (HALF - shift) + "s3cret" + "-" * (HALF - 3) + "s3cret" + "-" * (HALF - shift)
        )
        assert "s3" not in text
        assert "ret" not in text
        assert "left out" in text
