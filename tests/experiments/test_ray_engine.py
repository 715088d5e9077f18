"""The same trials on a local Ray cluster give the same results."""

from pathlib import Path

import pytest

from holter.experiments.trial import Trial, TrialOutcome

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
PATH = (str(Path(__file__).parent),)


def test_a_local_cluster_gives_the_same_numbers(monkeypatch):
    pytest.importorskip("ray", reason="needs the extra holter[ray]")
    from holter.experiments.pool import LocalPool
    from holter.experiments.ray_engine import RayEngine

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    trials = [Trial(target="small_target:build", overrides=o, steps=1, path=PATH) for o in ({}, {"crash": True})]
    on_ray, here = dict(RayEngine(jobs=2).run(trials)), dict(LocalPool(jobs=1).run(trials))
    assert on_ray[0].outcome is TrialOutcome.FINISHED
    assert on_ray[0].series == here[0].series and on_ray[0].fingerprints == here[0].fingerprints
    assert on_ray[1].outcome is TrialOutcome.CRASHED and "planted crash" in on_ray[1].error
