"""From a spec to a class: one name for one environment, one clear error for whatever is wrong with it."""

from __future__ import annotations

import pytest

from envkit import registry
from envkit.data.spec import EnvSpec
from envkit.errors import SpecError
from envkit.registry import Loaded, resolve

WORLD = "from envkit import Env\nclass W(Env):\n    pass\n"


def test_all_ways_to_name_a_file_give_one_spec(tmp_path, monkeypatch):
    (tmp_path / "w.py").write_text(WORLD)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.py").symlink_to(tmp_path / "w.py")
    monkeypatch.chdir(tmp_path)
    names = ("w.py", "./w.py", "folder/../w.py", "link.py", f"{tmp_path}/w.py")
    specs = {str(resolve(f"file:{name}:W").spec) for name in names}
    assert specs == {f"file:{tmp_path}/w.py:W@1"}
    monkeypatch.chdir("/")
    assert str(resolve(specs.pop()).spec) == f"file:{tmp_path}/w.py:W@1"


@pytest.mark.parametrize("folder", ["a b", "me@home", "v@2", "a:b", "100%20", "é"])
def test_a_path_may_hold_anything_but_a_question_mark(tmp_path, monkeypatch, folder):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "w.py").write_text(WORLD)
    monkeypatch.chdir(tmp_path / folder)
    spec = resolve("file:w.py:W@1").spec
    assert spec.path == f"file:{tmp_path}/{folder}/w.py:W"
    assert resolve(EnvSpec.parse(str(spec))).spec == spec


def test_a_folder_that_no_spec_can_name_is_said_at_once(tmp_path, monkeypatch):
    (tmp_path / "what?").mkdir()
    (tmp_path / "what?" / "w.py").write_text(WORLD)
    monkeypatch.chdir(tmp_path / "what?")
    with pytest.raises(SpecError, match="question mark"):
        resolve("file:w.py:W")


@pytest.mark.parametrize("source", ["import sys\nsys.exit(0)\n", "1 / 0\n", "import (\n"])
def test_a_file_that_does_not_import_is_named(tmp_path, source):
    path = tmp_path / "w.py"
    path.write_text(source)
    for _ in "ab":  # the second time no half of a module is left
        with pytest.raises(SpecError, match=r"w\.py:W: (SystemExit|ZeroDivision|SyntaxError)"):
            resolve(f"file:{path}:W")


class Point:
    """An entry point of a distribution that is not there."""

    name, value = "gone", "no_such_module:Source"

    def load(self):
        raise ModuleNotFoundError("No module named 'no_such_module'")


class Leaving(Point):
    def load(self):
        raise SystemExit(0)


@pytest.mark.parametrize("point", [Point(), Leaving()])
def test_a_source_that_does_not_load_is_named(monkeypatch, point):
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    with pytest.raises(SpecError, match=r"'gone' \(no_such_module:Source\) does not load: "):
        resolve("gone:x")


def test_a_move_between_folders_shows_in_the_digest(tmp_path):
    def digest(*places: str) -> str:
        folder = tmp_path / "-".join(places).replace("/", "_")
        for number, place in enumerate(places):
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(number))
        files = [path for path in folder.rglob("*") if path.is_file()]
        forwards, backwards = (
            registry._digest(Loaded("x", registry.Env, folder, some))
            for some in (files, files[::-1])
        )
        assert forwards == backwards
        return forwards

    assert (
        len({digest("a/x.py", "b/y.py"), digest("b/x.py", "a/y.py"), digest("x.py", "y.py")}) == 3
    )
