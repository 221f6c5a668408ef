"""Real captures that other people's programs made. They lie beside the project where its checks run, never in it."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("the captures of other programs (shared/data beside the project) are not here")
    return SHARED_DATA
