"""Secrets: what is typed ``SecretStr`` or ``SecretBytes`` is in nothing that flowkit prints or keeps (§3, H4)."""

import pytest

SECRET = "s3cr3tXYZ"


@pytest.fixture
def nowhere(flow, project):
    """Run commands on a flow; the secret is in nothing they print, and in no file below ``.flowkit``."""

    def check(source, *commands, codes=None, secret=SECRET):
        flow(source)
        ended = [project.flowkit(*command) for command in commands]
        if codes is not None:
            assert [e.exit_code for e in ended] == codes, [e.out + e.err for e in ended]
        for command, end in zip(commands, ended, strict=True):
            assert secret not in end.out + end.err, command
        for file in (project.root / ".flowkit").rglob("*"):
            # A stored value that was made with a secret is as it was made.
            if file.is_file() and "results" not in file.relative_to(project.root).parts:
                assert secret.encode() not in file.read_bytes(), file
        return ended

    return check


# What a run keeps, and a plan prints

TOKEN = ("-P", f"token={SECRET}")
SHOWS_ALL = ("-v", "-s", "-rA")


def test_the_reason_of_a_skip_is_masked_where_it_is_kept(nowhere):
    ran, planned, again, _ = nowhere(
        """
        from pydantic import SecretStr
        @task
        def a(token: SecretStr): skip("no rights for " + token.get_secret_value())
        """,
        ("run", "m.py", *TOKEN, *SHOWS_ALL),
        ("plan", "m.py", *TOKEN),
        ("run", "m.py", *TOKEN, *SHOWS_ALL),
        ("cache", "ls"),
    )
    assert "no rights for **********" in ran.out
    assert "s  a  no rights for **********" in planned.out
    assert "no rights for **********" in again.out


def test_what_a_skipped_task_was_called_with_is_masked(nowhere):
    nowhere(
        """
        from pydantic import SecretStr
        @task
        def urls(token: SecretStr): return [f"{token.get_secret_value()}-a"]
        @task
        def none(urls): skip("nothing to do")
        """,
        ("run", "m.py", *TOKEN, *SHOWS_ALL),
    )


def test_who_receives_a_skip_sees_the_same_reason_whether_it_is_reused_or_not(flow):
    f = flow("""
        from pydantic import SecretStr
        @task
        def a(token: SecretStr): skip("no rights for " + token.get_secret_value())
        @task
        def b(a: Skipped): return a.reason
    """)
    params = {"token": SECRET}
    assert f.value("b", params=params) == "no rights for **********"
    assert f.words(params=params) == {"a": "skipped", "b": "cached"}


def test_ids_of_elements_are_masked_where_they_are_kept_and_lists_have_their_own_when_reused(nowhere, project):
    source = """
        from pydantic import SecretStr
        @task
        def urls(token: SecretStr): return [f"{site}/{token.get_secret_value()}" for site in "ab"]
        @task(each={"url": "urls"})
        def page(url): Path(f"seen-{url[0]}").write_text(url)
        @task
        def all_of(page: Collected[object], again: int = 1): Path("ids").write_text(" ".join(page.ids))
    """
    _, warm, planned, _, more = nowhere(
        source,
        ("run", "m.py", *TOKEN, *SHOWS_ALL),
        ("run", "m.py", *TOKEN, *SHOWS_ALL),
        ("plan", "m.py", *TOKEN),
        ("cache", "ls"),
        ("run", "m.py", *TOKEN, "-P", "again=2", *SHOWS_ALL),
        codes=[0] * 5,
    )
    assert "4 cached" in warm.out
    assert "c  page[a/**********]" in planned.out
    assert "3 cached" in more.out
    assert project.read("ids") == f"a/{SECRET} b/{SECRET}"


def test_a_plain_parameter_that_has_the_secret_in_it_is_masked_in_reasons(nowhere):
    source = """
        from pydantic import SecretStr
        @task
        def a(token: SecretStr, url: str): return 1
    """
    *_, planned = nowhere(
        source,
        ("run", "m.py", *TOKEN, "-P", f"url=http://{SECRET}@x"),
        ("plan", "m.py", *TOKEN, "-P", f"url=http://{SECRET}@y"),
    )
    assert "parameter `url` changed: http://**********@x → http://**********@y" in planned.out


# Errors

MODEL = """
    from pydantic import BaseModel, SecretStr, field_validator
    from dataclasses import dataclass
    class M(BaseModel):
        token: SecretStr
        n: int = 1
        @field_validator("n", mode="before")
        @classmethod
        def look(cls, n):
            if n == "s3cr3tXYZ": raise ValueError(f"not {n}")
            return n
    @dataclass
    class D:
        inner: list[M] | None
    @task
    def c(cfg: M = M(token="none"), more: D = D(None)): Path("ran").touch()
"""


@pytest.mark.parametrize(
    "value",
    [
        '{"token": "s3cr3tXYZ", "n": "x"}',
        '{"token": "none", "n": "s3cr3tXYZ"}',
        '{"token": "s3cr3tXYZ"',
        "s3cr3tXYZ",
    ],
)
def test_a_value_for_a_type_with_a_secret_in_it_is_not_quoted(flow, project, monkeypatch, value):
    flow(MODEL)
    project.write("p.json", '{"cfg": %s}' % (value if value.endswith("}") else f'"{SECRET}"'))
    nested = f'{{"inner": [{value}]}}'
    for words in (["-P", f"cfg={value}"], ["--params", "p.json"], ["-P", f"more={nested}"], ["-O", f"cfg={value}"]):
        ended = project.flowkit("run", "m.py", *words)
        assert ended.exit_code == 4
        assert "does not fit" in ended.err
        assert SECRET not in ended.err
    ended = project.flowkit("run", "m.py", env={"FLOWKIT_PARAM_CFG": value})
    assert ended.exit_code == 4
    assert "$FLOWKIT_PARAM_CFG" in ended.err
    assert SECRET not in ended.err


def test_what_is_wrong_beside_a_secret_is_still_said(flow):
    text = flow(MODEL).refusal(params={"cfg": {"token": SECRET, "n": "x"}})
    assert "n: Input should be a valid integer" in text
    assert "wanted M" in text


def test_an_override_of_a_task_that_returns_a_secret_is_not_quoted_where_it_does_not_fit(nowhere):
    nowhere(
        """
        from pydantic import Field, SecretStr
        @task
        def t() -> Annotated[SecretStr, Field(min_length=20)]: return SecretStr("x" * 20)
        @task
        def u(t): return 1
        """,
        ("run", "m.py", "-O", f"t={SECRET}"),
        codes=[4],
    )


# Defaults


def test_a_text_as_the_default_of_a_secret_is_the_secret(nowhere):
    _, _, _, ran, show, _ = nowhere(
        """
        from pydantic import SecretStr
        token = "elsewhere"
        @resource
        def door(token: SecretStr = "s3cr3tXYZ"): return token.get_secret_value()
        @task
        def a(token: SecretStr = "s3cr3tXYZ", many: list[SecretStr] = ["s3cr3tXYZ"]):
            print("the token is", token.get_secret_value(), many[0].get_secret_value())
            assert isinstance(token, SecretStr)
            return 1
        @task
        def b(a, door):
            print("the door is", door)
            raise ValueError(door)
        """,
        ("tasks", "m.py"),
        ("plan", "m.py", "-v"),
        ("run", "m.py", "-q"),
        ("run", "m.py", *SHOWS_ALL[:1], "-rA", "--html", "r.html", "--junitxml", "r.xml"),
        ("show",),
        ("plan", "m.py", "-v"),
    )
    assert "ValueError: **********" in ran.out
    assert "token" in show.out


def test_the_default_of_an_optional_secret_may_be_none_and_a_secret_is_as_it_is(flow):
    f = flow("""
        from pydantic import Field, SecretStr
        @task
        def a(one: SecretStr | None = None, two: SecretStr = None,
              three: Annotated[SecretStr, Field(min_length=20)] = SecretStr("short")): return (one, two, three.get_secret_value())
    """)
    run = f.run()
    assert run["a"] == (None, None, "short")


def test_a_default_that_cannot_be_the_secret_is_an_error_that_does_not_show_it(flow):
    text = flow("""
        from pydantic import Field, SecretStr
        @task
        def a(token: Annotated[SecretStr, Field(min_length=20)] = "s3cr3tXYZ"): Path("ran").touch()
    """).refusal()
    assert "its default does not fit" in text
    assert "at least 20 items" in text
    assert SECRET not in text


# Commands


@pytest.mark.parametrize("secret", [SECRET, "ab9"], ids=["long", "short"])
@pytest.mark.parametrize("written", ["-O t={}", "-Ot={}"])
def test_an_override_by_a_secret_is_masked_in_the_command(nowhere, secret, written):
    override = written.format(secret).split(" ")
    ended = nowhere(
        """
        from pydantic import SecretStr
        @task
        def t() -> SecretStr: return SecretStr("none")
        @task
        def u(t: SecretStr):
            print(t)
            raise ValueError("no")
        """,
        ("run", "m.py", *override, "--html", "r.html", "--junitxml", "r.xml"),
        ("show",),
        secret=f"t={secret}",
    )
    assert "re-run: flowkit run m.py::u\n  (with t: what is secret is not shown)\n" in ended[0].out
    assert "t=**********" in ended[1].out


@pytest.mark.parametrize("secret", [SECRET, "ab9"], ids=["long", "short"])
@pytest.mark.parametrize("written", ["-P token={}", "-Ptoken={}"])
def test_a_secret_is_left_out_of_the_command_to_run_it_again(nowhere, project, secret, written):
    ran, _ = nowhere(
        """
        from pydantic import SecretStr
        @task
        def t(token: SecretStr, n: int, url: str = "") -> int: raise ValueError("no")
        """,
        ("run", "m.py", "-P", "n=1", *written.format(secret).split(" "), "-P", f"url=http://{secret}@x"),
        ("show",),
        secret=f"token={secret}",
    )
    again = ran.out.partition("re-run: flowkit ")[2].splitlines()
    assert again[0] == "run m.py::t -P n=1" + (f" -P url=http://{secret}@x" if secret == "ab9" else "")
    assert again[1] == f"  (with token{'' if secret == 'ab9' else ', url'}: what is secret is not shown)"
    ended = project.flowkit(*again[0].split())
    assert ended.exit_code == 4
    assert "token" in ended.err
    assert project.flowkit(*again[0].split(), env={"FLOWKIT_PARAM_TOKEN": secret}).exit_code == 1


def test_an_override_by_a_secret_is_masked_in_what_the_task_says(nowhere):
    nowhere(
        """
        from pydantic import SecretStr
        @task
        def t() -> SecretStr: return SecretStr("none")
        @resource
        def door(): return SecretStr("none")
        @task
        def u(t: SecretStr, door: SecretStr):
            print("with", t.get_secret_value(), door.get_secret_value())
            raise ValueError("with " + t.get_secret_value() + door.get_secret_value())
        """,
        ("run", "m.py", "-O", f"t={SECRET}", "-O", f"door={SECRET}", "-v", "-rA"),
        ("show",),
        ("logs",),
        codes=[1, 0, 0],
    )
