"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared():
    """The folder of public reports, cases, runs and corpora beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder of public cases and corpora beside the repository; it is not here")
    return SHARED
