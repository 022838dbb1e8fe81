"""surface.txt names every public attribute of the real onnxruntime and says what Onrush has for it.

A line is a path, a status and for some a reason:
    same    there, of the same kind, with the same arguments and defaults or the same value
    differs there, but not the same, for the reason given
    absent  not there, for the reason given
Attributes of a class that is absent, or a stand-in that cannot be made, are not listed.
`python test_surface.py` prints the lines for what the file lacks.
"""

import enum
import inspect
import pathlib
import re

import onnxruntime
import pytest

import onrush.ort
from onrush.ort import absent

TABLE = pathlib.Path(__file__).with_name("surface.txt")
EXTENSION = "capi.onnxruntime_pybind11_state"


def rows():
    for line in TABLE.read_text().splitlines():
        if line and not line.startswith("#"):
            path, status, *reason = line.split(maxsplit=2)
            yield path, status, " ".join(reason)


def resolve(module, path):
    found = module
    for name in path.split("."):
        found = getattr(found, name)
    return found


def is_stand_in(path):
    found = getattr(onrush.ort, path, None)
    return found is None or (isinstance(found, type) and issubclass(found, absent._Absent))


def public(thing):
    return sorted(name for name in dir(thing) if not name.startswith("_") or name in SPECIAL)


SPECIAL = {"__version__", "__array__", "__dlpack__", "__dlpack_device__"}
INHERITED = {name for base in (Exception, int) for name in dir(base)}
OF_ENUM_MEMBERS = {"name", "value"}


def real_paths():
    """Public attributes of onnxruntime, of its classes, and of the extension module."""
    for name in public(onnxruntime):
        yield name
        value = getattr(onnxruntime, name)
        if isinstance(value, type) and not is_stand_in(name):
            skipped = INHERITED | (OF_ENUM_MEMBERS if hasattr(value, "__members__") else set())
            yield from (f"{name}.{member}" for member in public(value) if member not in skipped)
    extension = resolve(onnxruntime, EXTENSION)
    yield from (f"{EXTENSION}.{name}" for name in public(extension))


def parameters(function):
    """Names and defaults, from the signature or from what pybind11 writes into the docstring.

    pybind11's unnamed arguments (arg0) are None.
    """
    try:
        found = inspect.signature(function).parameters.values()
        return [(p.name, p.default) for p in found if p.name != "self"]
    except ValueError:
        pass
    match = re.match(r"\w+\((.*)\) -> ", function.__doc__ or "")
    if not match or "*args" in match[1]:
        return None
    text = match[1]
    while "[" in text:  # types in brackets, which may hold commas, from the inside out
        text = re.sub(r"\[[^][]*\]", "", text)
    names = [part.split(":")[0].strip() for part in text.split(",")]
    return [
        (None if re.fullmatch(r"arg\d", name) else name, None)
        for name in names
        if name not in ("self", "")
    ]


def check_same(ours, theirs):
    if isinstance(theirs, type):
        assert isinstance(ours, type)
        if hasattr(theirs, "__members__"):
            assert {k: int(v) for k, v in ours.__members__.items()} == {
                k: int(v) for k, v in theirs.__members__.items()
            }
        assert issubclass(ours, Exception) == issubclass(theirs, Exception)
    elif inspect.isfunction(theirs):
        their_parameters = [
            (name, int(default) if isinstance(default, enum.Enum) else default)
            for name, default in parameters(theirs)
        ]
        assert parameters(ours) == their_parameters
    elif callable(theirs):
        assert callable(ours)
        expected, given = parameters(theirs), parameters(ours)
        if expected is not None and given is not None:
            assert len(given) == len(expected)
            for (name, _), (our_name, _) in zip(expected, given):
                assert name in (None, our_name)
    elif hasattr(type(theirs), "__members__"):
        assert int(ours) == int(theirs) and ours.name == theirs.name
    elif isinstance(theirs, str):
        assert ours == theirs
    elif inspect.ismodule(theirs):
        assert inspect.ismodule(ours)
    else:
        assert not callable(ours), "a property or a field"


def test_table_is_complete():
    listed = [path for path, _, _ in rows()]
    assert len(listed) == len(set(listed))
    real = set(real_paths())
    assert set(listed) == real


@pytest.mark.parametrize("path, status, reason", [pytest.param(*row, id=row[0]) for row in rows()])
def test_attribute(path, status, reason):
    theirs = resolve(onnxruntime, path)
    if status == "absent":
        assert reason
        with pytest.raises(AttributeError):
            resolve(onrush.ort, path)
        return
    ours = resolve(onrush.ort, path)
    if status == "differs":
        assert reason
        return
    assert status == "same"
    check_same(ours, theirs)


def test_onrush_itself_has_it():
    """So that ``import onrush as ort`` does for a program."""
    of_the_package = {"__version__", "cuda_version", "package_name", "version"}
    names = {path for path, status, _ in rows() if "." not in path and status == "same"}
    for name in names - of_the_package - {"onnxruntime_validation"}:
        assert getattr(onrush, name) is getattr(onrush.ort, name), name


def main():
    listed = {path for path, _, _ in rows()}
    for path in real_paths():
        if path in listed:
            continue
        try:
            check_same(resolve(onrush.ort, path), resolve(onnxruntime, path))
            print(path, "same")
        except AttributeError:
            print(path, "absent")
        except (AssertionError, TypeError) as error:
            print(path, "differs", str(error).splitlines()[0] if str(error) else "")


if __name__ == "__main__":
    main()
