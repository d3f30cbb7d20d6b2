"""Schedule of mixing: the epochs in which it is on."""

from mixscope.base.checks import check_at_least
from mixscope.base.kinds import checked
from mixscope.mixing.mixup import NoMixing
from mixscope.mixing.schemes import MixingScheme


@checked
def scheme_at(scheme: MixingScheme, epoch: int, *, mixing_off: int | None) -> MixingScheme:
    """Return the scheme in force in an epoch.

    Args:
        scheme: What is mixed while mixing is on.
        epoch: Counted from 1.
        mixing_off: After how many epochs mixing stops: 200 means that epoch 200 is the last one mixed, and 0 that none
            is. None: never. (Not "the last N epochs", which other tools mean by a similar name.)

    Raises:
        ValueError: If epoch is below 1 or mixing_off negative.

    Example:
        >>> from mixscope.mixing.mixup import Mixup
        >>> scheme_at(Mixup(), 200, mixing_off=200), scheme_at(Mixup(), 201, mixing_off=200)
        (Mixup(alpha=1.0, num_points=2, per_example=False), NoMixing())
    """
    check_at_least(1, epoch=epoch)
    if mixing_off is not None:
        check_at_least(0, mixing_off=mixing_off)
    return scheme if mixing_off is None or epoch <= mixing_off else NoMixing()
