"""The signing key: outside the store, nobody else's, made once."""

from __future__ import annotations

import hmac
import os
import subprocess
import sys

import pytest

from flowkit_plugins.cache.faults import StoreError
from flowkit_plugins.cache.signing import sign, signing_key


@pytest.fixture
def environ(tmp_path):
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "config" / "flowkit" / "cache.key"


def test_a_key_is_made_on_first_use_for_this_user_alone_and_kept(environ, key_file):
    key = signing_key(environ)
    assert len(key) == 32
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert signing_key(environ) == key
    assert os.listdir(key_file.parent) == ["cache.key"]


def test_without_xdg_the_key_is_below_the_home(tmp_path):
    for environ in ({"HOME": str(tmp_path)}, {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "odd"}):
        signing_key(environ)
    assert (tmp_path / ".config" / "flowkit" / "cache.key").exists()


def test_processes_that_start_together_get_one_key(environ, key_file):
    script = "from flowkit_plugins.cache.signing import signing_key; print(signing_key().hex())"
    command = [sys.executable, "-c", script]
    running = [
        subprocess.Popen(command, env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    keys = {process.communicate(timeout=30)[0] for process in running}
    assert keys == {signing_key(environ).hex() + "\n"}


def test_a_key_that_somebody_made_in_between_is_taken(environ, key_file, monkeypatch):
    real = os.link

    def link(source, target):
        key_file.write_text("ab" * 32)
        key_file.chmod(0o600)
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    assert signing_key(environ) == b"\xab" * 32
    assert os.listdir(key_file.parent) == ["cache.key"]


def test_a_shared_key_comes_from_the_environment(environ, key_file):
    shared = {**environ, "FLOWKIT_CACHE_KEY": "a secret that is long enough"}
    assert signing_key(shared) == signing_key(shared) != signing_key(environ)
    assert len(signing_key(shared)) == 32


@pytest.mark.parametrize("text", ["", "short"])
def test_a_short_shared_key_is_refused(text):
    with pytest.raises(StoreError, match=r"(?s)FLOWKIT_CACHE_KEY is too short.*token_hex"):
        signing_key({"FLOWKIT_CACHE_KEY": text})


def test_a_key_that_others_can_read_is_refused(environ, key_file):
    signing_key(environ)
    key_file.chmod(0o644)
    with pytest.raises(StoreError, match=r"(?s)others may know.*mode 644.*Delete it"):
        signing_key(environ)


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 64, b"0" * 62])
def test_a_spoilt_key_file_is_refused(environ, key_file, content):
    signing_key(environ)
    key_file.write_bytes(content)
    with pytest.raises(StoreError, match="holds no key"):
        signing_key(environ)


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path):
    (tmp_path / "config").write_text("")
    with pytest.raises(StoreError, match=r"(?s)cannot keep the key.*FLOWKIT_CACHE_KEY"):
        signing_key({"XDG_CONFIG_HOME": str(tmp_path / "config")})


@pytest.mark.parametrize("size", [0, 5, 1 << 16, (1 << 16) + 1])
@pytest.mark.parametrize("length", [16, 32, 64, 65])
def test_a_signature_is_the_hmac_of_what_it_covers(size, length):
    key, header, stream = bytes(range(length)), b"header", memoryview(b"x" * size)
    expected = hmac.digest(key, b"flowkit-blob/1\0v-1\0header" + stream, "sha256")
    assert sign(key, "v-1", header, stream) == expected
    assert sign(key, "v-1", memoryview(header), bytes(stream)) == expected
