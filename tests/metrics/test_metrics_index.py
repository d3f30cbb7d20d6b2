import subprocess
import sys

import pytest

from mixscope import metrics


def test_every_name_is_there_and_none_is_a_module():
    for name in metrics.__all__:
        value = getattr(metrics, name)
        assert getattr(value, "__name__", name) == name
        assert not hasattr(value, "__path__"), name
    assert set(metrics.__all__) <= set(dir(metrics))
    with pytest.raises(AttributeError, match=r"module 'mixscope\.metrics' has no attribute 'neural_colapse'"):
        metrics.neural_colapse  # noqa: B018


def test_importing_the_room_loads_no_torch():
    code = "import sys, mixscope.metrics as metrics; dir(metrics); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
