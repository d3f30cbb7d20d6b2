"""The catalogue's entries on predictions and on training: learning, calibration, over-training. No torch."""

from mixscope.metrics.cards import MetricEntry

_GUO = "Guo et al. 2017"
_NGUYEN = "Nguyen and O'Connor 2015"
_HERE = "defined here"
_STANDARD = "standard"
_LIU = "after Liu et al. 2023"

# fmt: off
# One entry: key, symbol, title / definition / unit, low, high, better, source / note.
LEARNING = (
    MetricEntry("train/loss", "L", "Training loss",
                "mean objective over the epoch's batches, as trained on",
                "nats", 0, None, "low", _STANDARD,
                "The objective on what was trained on: blends while mixing is on, so it cannot reach 0 there."),
    MetricEntry("train/loss_floor_gap", "L - H", "Training loss above its floor",
                "mean loss - mean entropy of the labels it was taken on (squared error: the loss itself)",
                "nats", 0, None, "none", _LIU,
                "Falls fast while classes are learned, and towards 0 as single blends are learned by heart."),
    MetricEntry("train/blend_entropy", "H", "Entropy of blended labels",
                "mean entropy of the labels of the epoch's blends, before label smoothing",
                "nats", 0, None, "none", _LIU,
                "No cross-entropy on blends is below it; on average (1 - sum p^2)(psi(2a+1) - psi(a+1)) for mixup."),
    MetricEntry("train/consistency", "L us", "Consistency loss",
                "mean over steps, unlabelled blends and classes of (output of the blend - blend of the outputs)^2",
                "", 0, None, "none", "after Chaudhry et al. 2022",
                "Before its weight, on logits or softmax as trained; 0 for a constant network too. Only with ICT."),
    MetricEntry("train/accuracy_blends", "acc mix", "Training accuracy on blends",
                "mean share that the predicted class has in the blended label",
                "", 0, 1, "none", _HERE,
                "Weighted by the shares of the label; not comparable with accuracy on clean images."),
    MetricEntry("train/accuracy_clean", "acc train", "Training accuracy",
                "share of unblended training images predicted rightly",
                "", 0, 1, "high", _STANDARD, "On unblended training images, evaluation mode."),
    MetricEntry("train/loss_clean", "L train", "Training loss on clean images",
                "mean -log p_y over the unblended training images",
                "nats", 0, None, "low", _STANDARD, "On unblended training images, evaluation mode."),
    MetricEntry("test/error", "err", "Test error",
                "share of test images predicted wrongly",
                "", 0, 1, "low", _STANDARD, "Share of wrong predictions."),
    MetricEntry("test/accuracy", "acc", "Test accuracy",
                "share of test images predicted rightly",
                "", 0, 1, "high", _STANDARD, "1 minus the test error."),
    MetricEntry("test/loss", "NLL", "Test loss",
                "mean -log p_y over the test images",
                "nats", 0, None, "low", _STANDARD, "Negative log-likelihood; a proper score."),
)

CALIBRATION = (
    MetricEntry("test/brier", "BS", "Brier score",
                "mean over examples of sum_k (p_k - [k = y])^2",
                "", 0, 2, "low", "Brier 1950",
                "Summed over classes, so at most 2; some tools divide by the number of classes."),
    MetricEntry("test/ece", "ECE", "Expected calibration error",
                "sum_b (n_b/N) |accuracy_b - confidence_b|, top label, 15 equal-width bins (low, high]",
                "", 0, 1, "low", _GUO,
                "Top label, 15 equal-width bins (low, high]. Does not say in which direction: see the signed gap."),
    MetricEntry("test/ece_equal_mass", "ECE em", "Expected calibration error, bins of equal counts",
                "sum_b (n_b/N) |accuracy_b - confidence_b|, top label, 15 bins of equal counts",
                "", 0, 1, "low", _NGUYEN,
                "No bin is nearly empty; ties share their mean accuracy."),
    MetricEntry("test/mce", "MCE", "Maximum calibration error",
                "max_b |accuracy_b - confidence_b| over the equal-width bins that hold an example",
                "", 0, 1, "low", _GUO, "A bin of few examples can decide it."),
    MetricEntry("test/classwise_ece", "cw-ECE", "Classwise calibration error",
                "mean over classes k of sum_b (n_b/N) |share of class k - mean p_k|, 15 equal-width bins of p_k",
                "", 0, 1, "low", "Kull et al. 2019", "Falls with K: compare at equal K only."),
    MetricEntry("test/signed_gap", "conf - acc", "Confidence minus accuracy",
                "mean confidence - accuracy",
                "", -1, 1, "none", _HERE, "0 is best; negative is under-confident, positive over-confident."),
    MetricEntry("test/mean_confidence", "conf", "Mean confidence",
                "mean of the largest probability",
                "", 0, 1, "none", _GUO, "Mean of the largest probability; compare with the accuracy."),
)

# Not measured at every epoch: functions of mixscope.metrics for a trained network, or for whole curves.
OVERTRAINING = (
    MetricEntry("overtraining/end_minus_best", "end - best", "What training on cost",
                "last minus lowest value of the mean test-error curve over seeds",
                "", 0, None, "low", _LIU, "`curves.end_minus_best`, with a reflected bootstrap interval over seeds."),
    MetricEntry("overtraining/turning_epoch", "t*", "Turning epoch",
                "epoch at which the mean test-error curve over seeds is lowest",
                "epochs", 0, None, "none", _LIU, "`curves.turning_epoch`, with a bootstrap interval over seeds."),
    MetricEntry("overtraining/loss_floor", "floor", "Expected floor of the loss under mixing",
                "sum_k sum_j Binomial(j; P, p_k) (j/P) (psi(P a + 1) - psi(j a + 1)); P = 2: "
                "(1 - sum p^2)(psi(2a+1) - psi(a+1))",
                "nats", 0, None, "none", _LIU, "`mixup_loss_floor`, for any concentration a, P and class frequencies."),
    MetricEntry("overtraining/gradient_norm", "|grad L|", "Length of the full gradient",
                "|gradient of the mean training loss over all examples|, evaluation mode",
                "", 0, None, "none", _LIU, "`gradient_norm`. Tends to 0 under plain training, not under mixup."),
    MetricEntry("overtraining/sharpness", "sharpness", "Rise of the loss around the weights",
                "mean over directions d of (L(w + r d) + L(w - r d)) / 2 - L(w), d filter-normalised, r = 0.3",
                "", None, None, "low", "directions of Li et al. 2018", "`sharpness`. The loss must be named with it."),
    MetricEntry("overtraining/intrusion_rate", "intrusion", "Blends that lie nearest to another class",
                "share of blends whose nearest real example has a class that is not in their label",
                "", 0, 1, "low", "after Guo et al. 2019", "`intrusion_rate`, also by the largest weight."),
)
# fmt: on
