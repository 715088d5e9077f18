"""Files that training leaves in binary form. None is ever unpickled or executed.

``training_args.bin`` is a pickle inside a zip archive. Its instructions are listed by `pickletools`, which runs none of
them, and the plain values among them are kept; everything that would import or call something becomes a mere name.
"""

from __future__ import annotations

from holter.patterns import regex
from holter.readers.base import CERTAIN, LIKELY, Match, Sample
from holter.run import Authority, Gap, Run, Value

NAME = "binary"

MAX_ARGUMENTS = 8 << 20  # bytes of a training_args.bin; real ones have a few kilobytes
_WEIGHTS = regex(r"\.(?:safetensors|bin|pt|pth|ckpt|gguf|h5|msgpack|npz|npy|onnx|tflite|distcp|model|spm)$")
_PICKLES = regex(r"\.(?:pkl|pickle|joblib|dill)$")
_DATA = regex(r"\.(?:arrow|parquet|feather|zip|gz|tar|tgz|zst|xz|bz2|7z|png|jpe?g|gif|webp|pdf|wav|mp3|flac|mp4)$")
_ARGUMENTS = "training_args.bin"


def sniff(sample: Sample) -> Match | None:
    """Binary content, or the suffix of a binary format."""
    if sample.name == _ARGUMENTS:
        return Match(score=CERTAIN, why="arguments of the Trainer; listed without unpickling")
    if sample.encoding is not None and sample.size:
        return None
    for pattern, why in (
        (_PICKLES, "skipped: a pickle can run code when it is loaded"),
        (_WEIGHTS, "skipped: weights or state, not a log; nothing is unpickled"),
        (_DATA, "skipped: data, not a log"),
    ):
        if pattern.search(sample.name):
            return Match(score=LIKELY, why=why)
    return None


def read(sample: Sample) -> Run:
    """The settings of ``training_args.bin``; nothing of any other file."""
    run = Run()
    if sample.name == _ARGUMENTS:
        _arguments(sample, run)
    return run


def _arguments(sample: Sample, run: Run) -> None:
    from holter.names import config_name
    from holter.readers.pickle_list import Unlistable, values

    if sample.size > MAX_ARGUMENTS:
        run.gaps.append(
            Gap(source=sample.source(), what="the arguments", why="the file is far larger than arguments are")
        )
        return
    try:
        found = values(sample.read_bytes())
    except Unlistable as error:
        run.gaps.append(
            Gap(source=sample.source(), what="the arguments", why=str(error), do="give the training script")
        )
        return
    for key, value in found.items():
        name = config_name(key)
        if name is not None:
            run.add_setting(
                name,
                Value(value=value, source=sample.source(key=key), raw=str(value), authority=Authority.RECORDED),
            )
