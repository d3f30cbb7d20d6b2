"""Sources of the claims on Fisher et al. 2024, and the settings they are checked on."""

from mixscope.studies.engine.claim_checks import Source
from mixscope.studies.fisher2024.runs import SETTINGS

ABSTRACT = Source("paper", "Fisher et al. 2024, abstract; the limit is ours")
READ = Source("paper", "Fisher et al. 2024, as read in its abstract or reviews; the limit is ours")
DERIVED = Source("derived", "from the unconstrained model")
PREDICTED = Source("derived", "a prediction; the limit is ours")
PAIRS = "at the end, blended pairs of training images with every weight equally often, mean over seeds"


def settings_with(*methods: str, is_noisy: bool = False, data: str = "") -> tuple[str, ...]:
    """Return the settings of all scales on which these methods are run, with wrong labels or without, of some data."""
    everything = {setting.name: setting for settings in SETTINGS.values() for setting in settings}
    alike = [name for name in everything if name.startswith(data) and name.endswith("-noisy") == is_noisy]
    return tuple(name for name in alike if set(methods) <= set(everything[name].methods))
