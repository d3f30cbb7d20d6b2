"""Reports of neural collapse, on the training and on the test set: the numbers with their cards. No torch.

Letters: mu_k class means, m_k = mu_k - centre, M their (K, D) matrix, w_k classifier rows, W_c the classifier minus the
mean of its rows, Sigma_W = within / N, Sigma_B = M^T M / K, E = I - 11^T / K. A number that is undefined (class means
that coincide, a classifier of zeros) is NaN or infinite. All are dimensionless.
"""

from dataclasses import dataclass
from functools import partial

from mixscope.metrics.cards import ROTATION, SCALE, SHIFT, Report, number

_PAPYAN = "Papyan et al. 2020"
_collapse = partial(number, low=0, better="low", source=_PAPYAN, ignores=(ROTATION, SHIFT, SCALE))
_on_test = partial(_collapse, source="after Hui et al. 2022")


# fmt: off
@dataclass(frozen=True)
class ClassGeometry(Report):
    """The numbers of any layer, with or without a classifier."""

    nc1_trace: float = _collapse(
        symbol="tr Sw / tr Sb", title="NC1: ratio of traces", source="Tirer et al.",
        definition="tr Sigma_W / tr Sigma_B, class means centred by their mean",
        note="Falls at another power than the pseudo-inverse form: never compare the two.")
    nc1_cdnv: float = _collapse(
        symbol="CDNV", title="NC1: class-distance normalised variance", source="Galanti et al. 2021",
        definition="mean over pairs of (v_i + v_j) / (2 |mu_i - mu_j|^2), v_k = mean |h - mu_k|^2 of class k",
        note="One close pair of classes can dominate the mean over pairs.")
    nc2_equinorm_means: float = _collapse(
        symbol="cv |m|", title="NC2: equal lengths of class means",
        definition="std_k |m_k| / mean_k |m_k|, population standard deviation",
        note="Coefficient of variation with the population standard deviation.")
    nc2_equiangular_means: float = _collapse(
        symbol="|cos m + 1/(K-1)|", title="NC2: equal angles of class means",
        definition="mean over pairs of |cos(m_i, m_j) + 1/(K-1)|", note="Mean over pairs.")
    nc2_max_angle_means: float = _collapse(
        symbol="max cos m + 1/(K-1)", title="NC2: closest pair of class means", high=2,
        definition="max over pairs of cos(m_i, m_j), plus 1/(K-1)",
        note="The worst pair; the mean over pairs hides it.")
    nc2_etf_means: float = _collapse(
        symbol="|MM' - E|", title="NC2: class means against a simplex", high=2,
        definition="|G/|G|_F - E/|E|_F|_F, G = M M^T, E = I - 11^T/K", note="Both Gram matrices scaled to norm 1.")
    effective_rank: float = _collapse(
        symbol="erank M", title="Effective rank of the class means", low=1, better="none",
        definition="exponential of the entropy of the singular values of M divided by their sum",
        source="Roy and Vetterli 2007", note="K - 1 at collapse.")


@dataclass(frozen=True)
class CollapseReport(ClassGeometry):
    """The neural-collapse numbers of one network; 0 is full collapse unless the card says otherwise.

    The last two look at the examples again, against fixed means: None unless measured by `NearestMeanCounts` and put in
    with `dataclasses.replace`.
    """

    nc1_pinv: float = _collapse(
        symbol="tr(Sw pinv Sb) / K", title="NC1: within-class variability", column="NC1",
        definition="tr(Sigma_W pinv(Sigma_B)) / K, class means centred by their mean",
        note="With 1/K. Falls at another power than the trace form: never compare the two.")
    nc1_pinv_sum: float = _collapse(
        symbol="tr(Sw pinv Sb)", title="NC1 without 1/K",
        definition="tr(Sigma_W pinv(Sigma_B)), class means centred by their mean",
        note="Exactly K times nc1_pinv.")
    participation: float = _collapse(
        symbol="(tr S)^2 / tr S^2", title="Participation ratio of the features", low=1, better="none",
        definition="(tr S)^2 / tr S^2, S the covariance of all examples around their mean", source="standard",
        note="How many directions carry the variance of all examples; K - 1 at collapse.")
    nc0_row_sum: float = _collapse(
        symbol="|sum w|^2 / |W|^2", title="NC0: classifier rows sum to zero", source="defined here",
        definition="|sum_k w_k|^2 / |W|_F^2",
        note="0 where the rows of the classifier sum to zero; at most the number of classes.")
    nc2_equinorm_weights: float = _collapse(
        symbol="cv |w|", title="NC2: equal lengths of classifiers",
        definition="std_k |w_k| / mean_k |w_k|, rows centred, population standard deviation",
        note="Rows centred; population standard deviation.")
    nc2_equinorm_weights_uncentered: float = _collapse(
        symbol="cv |w| raw", title="NC2: equal lengths of uncentred classifiers",
        definition="std_k |w_k| / mean_k |w_k|, rows as they are, population standard deviation",
        note="Decays at another rate than the centred form.")
    nc2_equiangular_weights: float = _collapse(
        symbol="|cos w + 1/(K-1)|", title="NC2: equal angles of classifiers",
        definition="mean over pairs of |cos(w_i, w_j) + 1/(K-1)|, rows centred", note="Mean over pairs; rows centred.")
    nc2_equiangular_weights_uncentered: float = _collapse(
        symbol="|cos w + 1/(K-1)| raw", title="NC2: equal angles of uncentred classifiers",
        definition="mean over pairs of |cos(w_i, w_j) + 1/(K-1)|, rows as they are",
        note="Decays at another rate than the centred form.")
    nc2_etf_weights: float = _collapse(
        symbol="|WW' - E|", title="NC2: classifiers against a simplex", high=2,
        definition="|G/|G|_F - E/|E|_F|_F, G = W_c W_c^T, rows centred",
        note="Rows centred; both Gram matrices scaled to norm 1.")
    nc3_duality: float = _collapse(
        symbol="|W - M|", title="NC3: classifiers against class means", high=2,
        definition="|W_c/|W_c|_F - M/|M|_F|_F", note="Both centred and scaled to norm 1; not squared.")
    nc3_duality_squared: float = _collapse(
        symbol="|W - M|^2", title="NC3: squared", high=4,
        definition="|W_c/|W_c|_F - M/|M|_F|_F^2", note="The square of nc3_duality, as some notebooks print it.")
    nc3_product: float = _collapse(
        symbol="|WM' - E|", title="NC3: product against a simplex", high=2,
        definition="|P/|P|_F - E/|E|_F|_F, P = W_c M^T", note="Rows centred; both matrices scaled to norm 1.")
    nc3_alignment: float = _collapse(
        symbol="1 - cos(w, m)", title="NC3: angle between classifier and class mean", high=2,
        definition="1 - mean_k cos(w_k, m_k), rows centred", note="Mean over classes; rows centred.")
    nc4_mismatch: float | None = _collapse(
        symbol="NC4", title="NC4: disagreement with the nearest class mean", high=1, default=None,
        definition="share of examples where argmax(W h + b) is not the class of the nearest mean mu_k",
        note="The classifier's bias is part of its decision.")
    nearest_mean_accuracy: float | None = _collapse(
        symbol="NCC acc", title="Accuracy of the nearest class mean", high=1, better="high", default=None,
        definition="share of examples whose nearest class mean is that of their own class", source="standard",
        note="Compare with the classifier's accuracy.")


@dataclass(frozen=True)
class CollapseOnTest(Report):
    """Scatter of test features around the training set's class means, in units of the training set's.

    mu_k, m_k and Sigma_B are the training set's; mu'_k are the test means, N' counts test examples. 0 where every test
    feature lies on the training mean of its class; two sets from one distribution give the numbers of `CollapseReport`.
    `nc1_trace` = `own_nc1_trace` + `mean_shift`; `nc1_cdnv` is NaN where only one class has test examples. The last two
    are None unless measured, as in `CollapseReport`.
    """

    nc1_pinv: float = _on_test(
        symbol="tr(St pinv Sb) / K", title="NC1 on test: around the training means",
        definition="tr(Sigma_T pinv(Sigma_B)) / K, Sigma_T = scatter of test features around training means / N'",
        note="Sigma_B and the means are the training set's.")
    nc1_trace: float = _on_test(
        symbol="tr St / tr Sb", title="NC1 on test: ratio of traces",
        definition="tr Sigma_T / tr Sigma_B, Sigma_T = scatter of test features around training means / N'",
        note="The sum of own_nc1_trace and mean_shift.")
    nc1_cdnv: float = _on_test(
        symbol="CDNV test", title="NC1 on test: class-distance normalised variance",
        definition="mean over pairs of (v_i + v_j) / (2 |mu_i - mu_j|^2), "
                   "v_k the mean of |h - mu_k|^2 over test examples",
        note="Means of the training set; pairs of classes that have test examples.")
    own_nc1_trace: float = _on_test(
        symbol="tr Sw test / tr Sb", title="NC1 on test: scatter around its own means", source="defined here",
        definition="the part of tr Sigma_T / tr Sigma_B around the test set's own class means",
        note="High where test features of a class do not gather at all.")
    mean_shift: float = _on_test(
        symbol="|mu test - mu|^2 / tr Sb", title="NC1 on test: shift of the class means", source="defined here",
        definition="the part of tr Sigma_T / tr Sigma_B from the distance of test to training class means",
        note="High where test features gather, but elsewhere; few test images raise it.")
    num_classes_tested: int = _on_test(
        symbol="K'", title="Classes with a test example", low=1, better="none", source="standard",
        definition="number of classes that have a test example",
        note="The others take no part in the numbers on test.")
    nc4_mismatch: float | None = _on_test(
        symbol="NC4 test", title="NC4 on test", high=1, source=_PAPYAN, default=None,
        definition="share of test examples where argmax(W h + b) is not the class of the nearest training mean",
        note="The classifier's bias is part of its decision.")
    nearest_mean_accuracy: float | None = _on_test(
        symbol="NCC acc test", title="Test accuracy of the nearest class mean", high=1, better="high",
        definition="share of test examples whose nearest training class mean is that of their own class",
        source="standard", note="Compare with the classifier's test accuracy.", default=None)
