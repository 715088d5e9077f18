"""A change to one file: shown as a unified diff, written atomically with a backup."""

from __future__ import annotations

import difflib
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holter.errors import FixError

BACKUP_SUFFIX = ".before-holter"


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One setting to write into one file.

    Attributes:
        key: the setting by Holter's name, such as ``fp16``.
        spelling: the key as the file spells it, with its path (``trainer.precision``); empty when the file has none.
        new: plain value to write.
        old: the value that was read; an edit is refused where the file holds something else.
        line: 1-based line where the value was read; in a notebook, the line within the cell.
        cell: 1-based notebook cell.
        reason: why, one clause.
    """

    key: str
    new: Any
    spelling: str = ""
    old: Any = None
    line: int | None = None
    cell: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Patch:
    """The text of a file before and after; ``edits`` say what was done and ``sha256`` what it was done to."""

    path: Path
    name: str
    before: str
    after: str
    sha256: str
    edits: tuple[Edit, ...]

    @property
    def diff(self) -> str:
        """Unified diff with three lines of context, empty when nothing is to be done."""
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            f"a/{self.name}",
            f"b/{self.name}",
        )
        return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)

    def apply(self) -> Path | None:
        """Write the file under a temporary name, keep the old one beside it, and rename.

        Returns:
            The backup, or None when there was nothing to do.

        Raises:
            FixError: the file changed since it was read, or cannot be written.
        """
        if self.before == self.after:
            return None
        if fingerprint(self.path.read_bytes()) != self.sha256:
            raise FixError(
                f"did not write {self.name}",
                where=self.name,
                why="the file changed since it was read",
                do="run the diagnosis again, then the fix",
            )
        backup = _free_name(self.path)
        try:
            backup.write_bytes(self.path.read_bytes())
            _write_atomically(self.path, encode(self.after, self.path))
        except OSError as error:
            raise FixError(f"could not write {self.name}", where=self.name, why=str(error)) from error
        return backup


def fingerprint(content: bytes) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def decode(content: bytes, name: str) -> str:
    """The text of a file, with its line ends and any byte-order mark kept as they are.

    Raises:
        FixError: it is not UTF-8, so that an edit could not leave the rest as it was.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FixError(
            f"cannot patch {name}", where=name, why=f"it is not UTF-8: {error}", do="make the change by hand"
        ) from error


def encode(text: str, path: Path) -> bytes:
    """The bytes to write; the inverse of `decode`."""
    return text.encode("utf-8")


def _free_name(path: Path) -> Path:
    backup, number = path.with_name(path.name + BACKUP_SUFFIX), 1
    while backup.exists():
        number += 1
        backup = path.with_name(f"{path.name}{BACKUP_SUFFIX}-{number}")
    return backup


def _write_atomically(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(path.stat().st_mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
