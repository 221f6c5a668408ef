"""Captures that forecasts are made of."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def traffic() -> ModuleType:
    place = Path(__file__).with_name("traffic.py")
    spec = importlib.util.spec_from_file_location("synthesis_traffic", place)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
