"""What the claims on Fisher et al. 2024 go back to, and the settings they are checked on."""

from mixscope.studies.engine.claim_checks import Source
from mixscope.studies.fisher2024.runs import SETTINGS

ABSTRACT = Source("paper", "Fisher et al. 2024, abstract; the limit is ours")
READ = Source("paper", "Fisher et al. 2024, as read in its abstract or reviews; the limit is ours")
DERIVED = Source("derived", "from the unconstrained model")
PREDICTED = Source("derived", "a prediction; the limit is ours")
PAIRS = "at the end, blended pairs of training images with every weight equally often, mean over seeds"


def settings_with(*methods: str, is_noisy: bool = False, data: str = "") -> tuple[str, ...]:
    """Return the settings of all scales on which all these methods are run.

    Args:
        methods: By name.
        is_noisy: Whether those with wrong labels are meant, or those without.
        data: What their names begin with; "" is any.
    """
    everything = [setting for settings in SETTINGS.values() for setting in settings]
    found = [
        setting.name
        for setting in everything
        if set(methods) <= set(setting.methods)
        and setting.name.endswith("-noisy") == is_noisy
        and setting.name.startswith(data)
    ]
    return tuple(dict.fromkeys(found))
