"""Cards of the numbers that no report holds: of an epoch of training, of whole curves, of studies. No torch."""

from functools import partial

from mixscope.metrics.cards import Card

_HERE, _STANDARD, _LIU, _FISHER = "defined here", "standard", "after Liu et al. 2023", "after Fisher et al. 2024"
_learning, _share = partial(Card, low=0), partial(Card, low=0, high=1)
FLOOR_GAP, BLEND_ENTROPY = "train/loss_floor_gap", "train/blend_entropy"  # what the monitor of over-training reads

# fmt: off
LEARNING = (
    _learning(
        key="train/loss", symbol="L", title="Training loss", unit="nats", better="low", source=_STANDARD,
        definition="mean objective over the epoch's batches, as trained on",
        note="The objective on what was trained on: blends while mixing is on, so it cannot reach 0 there."),
    _learning(
        key=FLOOR_GAP, symbol="L - H", title="Training loss above its floor", unit="nats", source=_LIU,
        definition="mean loss - mean entropy of the labels it was taken on (squared error: the loss itself)",
        note="Falls fast while classes are learned, and towards 0 as single blends are learned by heart."),
    _learning(
        key=BLEND_ENTROPY, symbol="H", title="Entropy of blended labels", unit="nats", source=_LIU,
        definition="mean entropy of the labels of the epoch's blends, before label smoothing",
        note="No cross-entropy on blends is below it; on average (1 - sum p^2)(psi(2a+1) - psi(a+1)) for mixup."),
    _learning(
        key="train/consistency", symbol="L us", title="Consistency loss", source="after Chaudhry et al. 2022",
        definition="mean over steps, unlabelled blends and classes of "
                   "(output of the blend - blend of the outputs)^2",
        note="Before its weight, on logits or softmax as trained; 0 for a constant network too. Only with ICT."),
    _learning(
        key="train/accuracy_blends", symbol="acc mix", title="Training accuracy on blends", high=1, source=_HERE,
        column="training accuracy, blends",
        definition="mean share that the predicted class has in the blended label",
        note="Weighted by the shares of the label; not comparable with accuracy on clean images."),
    _learning(
        key="train/accuracy_clean", symbol="acc train", title="Training accuracy", high=1, better="high",
        column="training accuracy, clean", source=_STANDARD,
        definition="share of unblended training images predicted rightly",
        note="On unblended training images, evaluation mode."),
    _learning(
        key="train/loss_clean", symbol="L train", title="Training loss on clean images", unit="nats", better="low",
        definition="mean -log p_y over the unblended training images", source=_STANDARD,
        note="On unblended training images, evaluation mode."),
)

# Not measured at every epoch: functions of mixscope.metrics for a trained network, or for whole curves.
OVERTRAINING = (
    Card(
        key="overtraining/end_minus_best", symbol="end - best", title="What training on cost", low=0, better="low",
        column="end − best", definition="last minus lowest value of the mean test-error curve over seeds", source=_LIU,
        note="`end_minus_best`, with a reflected bootstrap interval over seeds."),
    Card(
        key="overtraining/turning_epoch", symbol="t*", title="Turning epoch", unit="epochs", low=0, source=_LIU,
        definition="epoch at which the mean test-error curve over seeds is lowest",
        note="`turning_epoch`, with a bootstrap interval over seeds."),
    Card(
        key="overtraining/loss_floor", symbol="floor", title="Expected floor of the loss under mixing", unit="nats",
        definition="sum_k sum_j Binomial(j; P, p_k) (j/P) (psi(P a + 1) - psi(j a + 1)); P = 2: "
                   "(1 - sum p^2)(psi(2a+1) - psi(a+1))", low=0, source=_LIU,
        note="`mixup_loss_floor`, for any concentration a, P and class frequencies."),
    Card(
        key="overtraining/intrusion_rate", symbol="intrusion", title="Blends that lie nearest to another class",
        definition="share of blends whose nearest real example has a class that is not in their label",
        low=0, high=1, better="low", source="after Guo et al. 2019",
        note="`intrusion_rate`, also by the largest weight."),
)

# What studies measure of their networks besides.
STUDIES = (
    Card(
        key="train/loss_floor", symbol="H trained", title="Entropy of the labels trained on", unit="nats", low=0,
        definition="mean entropy of the labels the training loss was taken on", source=_LIU,
        note="`train/loss` less `train/loss_floor_gap`; label smoothing and switching off change it."),
    Card(
        key="train/objective_gradient_norm", symbol="|grad L|", title="Gradient of the objective", low=0, source=_LIU,
        definition="|gradient of the mean training loss over all examples|, evaluation mode",
        note="`gradient_norm`. Tends to 0 under plain training, not under mixup."),
    Card(
        key="train/sharpness", symbol="sharpness", title="Rise of the loss around the weights", better="low",
        definition="mean over directions d of (L(w + r d) + L(w - r d)) / 2 - L(w), d filter-normalised, r = 0.3",
        source="directions of Li et al. 2018", note="`sharpness`, of the loss on clean training images."),
    _share(
        key="test/confidence_right", symbol="conf right", title="Confidence where right", source=_FISHER,
        definition="mean of the largest probability over test images predicted rightly",
        note="High, as it should be, in any well-trained network."),
    _share(
        key="test/confidence_wrong", symbol="conf wrong", title="Confidence where wrong", source=_FISHER,
        definition="mean of the largest probability over test images predicted wrongly",
        note="The further below that of right predictions, the better confidence tells them apart."),
    Card(
        key="channels/spread_same", symbol="spread same", title="Spread of same-class blends along their classifier",
        low=0, source=_FISHER, definition="over bins of the weight, std / mean of the mean x1 of same-class blends",
        note="0 where it does not depend on the weight."),
    Card(
        key="channels/spread_different", symbol="spread diff", title="Spread of two-class blends along the channel",
        low=0, source=_FISHER, definition="over bins of the weight, std / mean of the mean (x1 + x2) / 2",
        note="As `channels/spread_same`, for blends of two classes."),
    Card(
        key="channels/middle_density", symbol="density mid", title="Density of blends in the middle of the channel",
        definition="share of two-class blends with |x1 - x2| below a third of its 90% quantile, over 0.3", low=0,
        source=_FISHER, note="1 where blends are spread evenly, above where they gather on the boundary."),
    Card(
        key="nc/classifier_mean_drift", symbol="|w - w0| / |w0|", title="Drift of the mean classifier row", low=0,
        definition="|mean_k w_k - its start| / |its start|", source=_HERE, note="0 before training."),
)
# fmt: on
