"""Lists what a pickle would build, without building it.

`pickletools.genops` reads the instructions of a pickle and runs none of them. Here a small stack machine follows those
that make plain data; what names a class or function becomes a `Name`, what calls one becomes a `Made` that remembers
the arguments. Nothing is imported and nothing is called.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from dataclasses import dataclass, field
from typing import Any

MAX_STEPS = 200_000  # instructions; the arguments of a Trainer need a few hundred
MAX_PICKLE = 8 << 20  # bytes of the pickle inside the archive


class Unlistable(Exception):
    """The bytes are no pickle, or one that this machine does not follow."""


@dataclass
class Name:
    """A class or function that a pickle names."""

    text: str


@dataclass
class Made:
    """The result of a call that a pickle asks for and nobody makes."""

    name: Any
    arguments: tuple[Any, ...]
    state: dict[str, Any] = field(default_factory=dict)


_MARK = object()
_PUSHES = {
    *("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"),
    *("SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES"),
    *("BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, type] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list, "EMPTY_TUPLE": tuple}


def values(data: bytes) -> dict[str, Any]:
    """The plain attributes of the one object in a file written by ``torch.save`` or ``pickle.dump``.

    Raises:
        Unlistable: the bytes are not such a file.
    """
    top = _Machine().run(_pickle(data))
    state = top.state if isinstance(top, Made) else top
    if not isinstance(state, dict) or not state:
        raise Unlistable("the pickle does not hold one object with attributes")
    plain = {str(key): _plain(value) for key, value in state.items()}
    processes = state.get("distributed_state")
    if isinstance(processes, Made) and isinstance(processes.state.get("num_processes"), int):
        plain["num_processes"] = processes.state["num_processes"]
    return {key: value for key, value in plain.items() if value is not _MARK}


def _pickle(data: bytes) -> bytes:
    if not data.startswith(b"PK"):
        return data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inside = next((i for i in archive.infolist() if i.filename.endswith("data.pkl")), None)
            if inside is None or inside.file_size > MAX_PICKLE:
                raise Unlistable("the archive holds no data.pkl of a usual size")
            return archive.read(inside)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise Unlistable(f"the archive is damaged: {error}") from error
    except Exception as error:
        if type(error).__module__ in ("zlib", "lzma"):
            raise Unlistable(f"the archive is damaged: {error}") from error
        raise


def _plain(value: Any) -> Any:
    """A value of plain data; a member of an enumeration as its own value; `_MARK` for anything else."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Made) and len(value.arguments) == 1 and isinstance(value.arguments[0], (str, int)):
        return value.arguments[0]
    if isinstance(value, (list, tuple)):
        items = [_plain(item) for item in value]
        return _MARK if any(item is _MARK for item in items) else items
    if isinstance(value, dict):
        pairs = {str(key): _plain(item) for key, item in value.items()}
        return {key: item for key, item in pairs.items() if item is not _MARK}
    return _MARK


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, pickle: bytes) -> Any:
        """The value on top of the stack at the end."""
        try:
            for steps, (code, argument, _) in enumerate(pickletools.genops(pickle)):
                if steps > MAX_STEPS:
                    raise Unlistable("the pickle is far longer than arguments are")
                if code.name == "STOP":
                    return self.stack[-1]
                self._step(code.name, argument)
        except Unlistable:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
            raise Unlistable(f"it is not a pickle, or a damaged one ({type(error).__name__})") from error
        raise Unlistable("the pickle ends without an end mark")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _PUSHES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[int(argument)] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[int(argument)])
        elif name in _COLLECT:
            self._collect(name)
        elif name in _CALLS:
            self._call(name, argument)
        elif name == "POP":
            stack.pop()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name not in ("PROTO", "FRAME"):
            raise Unlistable(f"the pickle uses the instruction {name}, which is not followed")

    def _to_mark(self) -> list[Any]:
        at = next(i for i in range(len(self.stack) - 1, -2, -1) if i < 0 or self.stack[i] is _MARK)
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def _collect(self, name: str) -> None:
        stack = self.stack
        if name in ("SETITEM", "APPEND"):
            items = [stack.pop() for _ in range(2 if name == "SETITEM" else 1)][::-1]
        elif name.startswith("TUPLE") and name != "TUPLE":
            count = int(name[-1])
            items = stack[-count:]
            del stack[-count:]
        else:
            items = self._to_mark()
        if name.startswith("TUPLE"):
            stack.append(tuple(items))
        elif name in ("LIST", "FROZENSET"):
            stack.append(items)
        elif name == "DICT":
            stack.append(_pairs(items))
        elif name in ("SETITEM", "SETITEMS"):
            if isinstance(stack[-1], dict):
                stack[-1].update(_pairs(items))
        elif isinstance(stack[-1], list):
            stack[-1].extend(items)

    def _call(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name == "GLOBAL":
            stack.append(Name(str(argument)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(Name(f"{module} {attribute}"))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, called = stack.pop(), stack.pop()
            stack.append(Made(called, arguments if isinstance(arguments, tuple) else ()))
        elif name == "NEWOBJ_EX":
            _, arguments, called = stack.pop(), stack.pop(), stack.pop()
            stack.append(Made(called, arguments if isinstance(arguments, tuple) else ()))
        elif name in ("BINPERSID", "PERSID"):
            reference = stack.pop() if name == "BINPERSID" else argument
            stack.append(Made(Name("persistent"), (reference, None)))
        else:
            state = stack.pop()
            if isinstance(stack[-1], Made) and isinstance(state, dict):
                stack[-1].state.update(state)


_COLLECT = {
    *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST", "DICT", "FROZENSET"),
    *("SETITEM", "SETITEMS", "APPEND", "APPENDS", "ADDITEMS"),
}
_CALLS = {"GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BINPERSID", "PERSID", "BUILD"}


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {key: value for key, value in zip(items[::2], items[1::2], strict=True) if isinstance(key, (str, int))}
