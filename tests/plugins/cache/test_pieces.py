"""Long files are parsed in pieces: whatever is found there is what the whole file has."""

import ast
import importlib.util
from itertools import permutations

import pytest

from flowkit_plugins.cache.code import pieces as cutting
from flowkit_plugins.cache.code.bytecode import nested
from flowkit_plugins.cache.code.pieces import Pieces
from flowkit_plugins.cache.code.syntax import Module

NASTY = '''
from functools import (
    wraps,
)
def first(a, /, b=1, *rest, c: int = 2, **others) -> int: return a
@wraps(
    first,
)
@first
def decorated(x: int):
    """Says:
def decorated(x):
    return 1
"""
    return [lambda y: y, lambda z: x]
TEMPLATE = """
def templated():
    return 1
# """
def templated():
    return f"""
def {first(1)}
@{TEMPLATE}"""
if TEMPLATE:
    def guarded(): return 1
else:
    def guarded(): return 2
class Kind(
object
):
    text = \'\'\'
class Kind:
    def method(self): return 0
\'\'\'
    @property
    def method(self):
        def inner(): return self
        return inner
    def method(self): return [
1
@ 2]
async def later(): await later()
def twice(): return 1
def twice(): return 2
def last(x):
    return x \\
+ 1
'''


def found(text, monkeypatch, lines, *, afresh=False):
    """Of every function in a text: what its pieces say, and what the whole says."""
    monkeypatch.setattr(cutting, "LONG", 0)
    monkeypatch.setattr(cutting, "LINES", lines)
    pieces, whole = Pieces(text, ast.parse), Module(ast.parse(text))
    answers = {}
    for code in nested(compile(text, "x", "exec")):
        place = (code.co_qualname, code.co_firstlineno)
        if afresh:  # a piece that cannot be parsed ends all others
            pieces = Pieces(text, ast.parse)
        pieces._patience = 10**9
        answers[place] = (pieces.function(*place), whole.function(*place))
    return answers


@pytest.mark.parametrize("lines", [1, 3, 8])
def test_a_piece_has_the_functions_of_the_whole(monkeypatch, lines):
    pairs = found(NASTY.encode(), monkeypatch, lines, afresh=True)
    assert all(piece in (None, whole) for piece, whole in pairs.values())
    assert lines > 1 or {name for (name, _), (piece, _) in pairs.items() if piece} >= {"first", "twice", "last"}


@pytest.mark.parametrize("lines", [1, 3, 8])
def test_imports_of_pieces_are_those_of_the_whole(monkeypatch, lines):
    plain = b"def f(x):\n    y = x\n    return y\n" * 20
    parts = [
        b"import a, b.c as d\nX = 1\n",
        b"try:\n    import a as d\nexcept ImportError:\n    from .e import d\n",
        b'TEXT = """\ndef f():\n    pass\nimport not_here\n# """\n',
        b"X = (a\n@a)\n",
        b"def g():\n    import not_here_either\nfrom .. import late\n",
    ]
    monkeypatch.setattr(cutting, "LONG", 0)
    monkeypatch.setattr(cutting, "LINES", lines)
    several = 0
    for count in range(1, len(parts) + 1):
        for some in permutations(parts, count):
            text = plain.join([b"", *some, b""])
            found = Pieces(text, ast.parse).imports()
            assert found in (None, Module(ast.parse(text)).imports())
            several += found is not None
    assert several > 50


@pytest.mark.parametrize("name", ["argparse", "typing", "inspect", "ast", "tarfile", "turtle", "datetime", "enum"])
def test_the_functions_of_pythons_own_files_are_found_in_pieces(monkeypatch, name):
    with open(importlib.util.find_spec(name).origin, "rb") as file:
        text = file.read()
    monkeypatch.setattr(cutting, "_ordinary", lambda text: True)  # all of them have an escape or two
    pairs = found(text, monkeypatch, 24)
    assert all(piece in (None, whole) for piece, whole in pairs.values())
    named = {place: pair for place, pair in pairs.items() if pair[1] is not None and "<" not in place[0].replace("<locals>", "")}
    assert sum(piece is not None for piece, _ in named.values()) > 0.9 * len(named)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"\xef\xbb\xbfdef f(): return 1\n", "a mark of the encoding"),
        (b"# -*- coding: latin-1 -*-\ndef f(): return 1\n", "an encoding"),
        (b"def f(): return 1\r\ndef g(): return 2\r\n", "other ends of lines"),
        (b"def f(): return 1\n\x0c\ndef g(): return 2\n", "a form feed"),
        (b'def f(): return r"\\d"\n', "an escape that might be warned of"),
    ],
)
def test_a_file_that_is_out_of_the_ordinary_is_not_cut(monkeypatch, text, why):
    assert all(piece is None for piece, _ in found(text, monkeypatch, 1).values()), why


def test_a_short_file_is_not_cut():
    assert Pieces(b"def f(): return 1\n", ast.parse).function("f", 1) is None


def test_pieces_asked_for_in_turn_are_not_parsed_for_ever():
    one = b"def f%d(x):\n" + b"    x += 1\n" * 2_000 + b"    return x\n"
    text = one % 0 + one % 1
    parsed = []

    def parse(part):
        parsed.append(part)
        return ast.parse(part)

    pieces = Pieces(text, parse)
    answers = [pieces.function(f"f{i % 2}", 1 + i % 2 * 2_002) for i in range(10)]
    assert None not in answers[:4]
    assert answers[4:] == [None] * 6
    assert len(parsed) == 4
