"""The number format of the forward and backward pass, chosen by hardware and model family, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

from holter.errors import ConfigError
from holter.knowledge.families import FP16_MAX, Fp16Record, family_of


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What the precision depends on.

    Attributes:
        device: ``cpu``, ``cuda`` or ``mps``.
        has_bf16: whether matrix units work in bf16 (compute capability 8.0 and later), not by emulation.
    """

    device: str
    has_bf16: bool


@dataclass(frozen=True, kw_only=True)
class Precision:
    """``fp32``, ``bf16`` or ``fp16`` (mixed, weights in fp32), and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def this_hardware(use_cpu: bool = False) -> Hardware:
    """What this process would train on."""
    import torch

    if not use_cpu and torch.cuda.is_available():
        major, _ = torch.cuda.get_device_capability()
        return Hardware(device="cuda", has_bf16=major >= 8 or torch.version.hip is not None)
    if not use_cpu and torch.backends.mps.is_available():
        return Hardware(device="mps", has_bf16=False)
    return Hardware(device="cpu", has_bf16=False)


def choose(asked: str, model_type: str, hardware: Hardware) -> Precision:
    """The precision to train in.

    Args:
        asked: ``auto``, ``no``, ``bf16`` or ``fp16``.
        model_type: of the model's configuration.
        hardware: of this process.

    Raises:
        ConfigError: fp16 for the T5 family, or a format the hardware does not have.
    """
    if asked == "no":
        return Precision(name="fp32", reason="mixed_precision is no")
    if asked == "fp16":
        _refuse_fp16(model_type, hardware)
        return Precision(name="fp16", reason="mixed_precision is fp16; the loss is scaled against underflow")
    if asked == "bf16":
        if not hardware.has_bf16 and hardware.device != "cpu":
            do = "write mixed_precision: auto"
            raise ConfigError(
                "bf16 is not available", where="mixed_precision", why=f"this {hardware.device} has no bf16 units", do=do
            )
        return Precision(name="bf16", reason="mixed_precision is bf16")
    return _automatic(model_type, hardware)


def _automatic(model_type: str, hardware: Hardware) -> Precision:
    if hardware.has_bf16:
        return Precision(name="bf16", reason="this card has bf16, whose range is that of fp32")
    if hardware.device == "cpu":
        return Precision(name="fp32", reason="on a CPU bf16 saves no time and costs digits")
    if overflowing := _overflowing(model_type):
        reason = f"this {hardware.device} has no bf16, and {overflowing}"
        return Precision(name="fp32", reason=reason)
    return Precision(name="fp32", reason=f"this {hardware.device} has no bf16; fp16 has to be asked for")


def _overflowing(model_type: str) -> str:
    """Why fp16 does not hold this family's numbers, empty when no source says so."""
    family = family_of(model_type)
    if family is None or family.fp16 is not Fp16Record.OVERFLOWS:
        return ""
    place = family.overflows_at or "some activation"
    return f"{place} of {family.name} passes {FP16_MAX:,.0f}, the largest number of fp16 ({family.source})"


def _refuse_fp16(model_type: str, hardware: Hardware) -> None:
    if overflowing := _overflowing(model_type):
        raise ConfigError(
            f"fp16 is refused for {model_type}",
            where="mixed_precision",
            why=overflowing,
            do="write mixed_precision: auto, which takes bf16 where the card has it and fp32 otherwise",
        )
    if hardware.device != "cuda":
        why = f"the {hardware.device} has no fp16 training with loss scaling"
        raise ConfigError("fp16 is not available", where="mixed_precision", why=why, do="write mixed_precision: auto")
