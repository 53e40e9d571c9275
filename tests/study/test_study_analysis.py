"""What votes come to, against published examples, other libraries and calculations by hand."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.errors import ItemError
from bench.metrics import opinion, preference, ranking
from bench.metrics.preference import Comparison
from bench.study import text
from bench.study.active import Chooser, gain, posterior
from bench.study.summary import _means_apart, _more, _needed, _pair_apart
from bench.tables.agreement import Agreement, Estimate, render

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "p910.json").read_text(encoding="utf-8"))
VOTES = np.array([[math.nan if vote == "-" else float(vote) for vote in row] for row in GOLDEN["votes"]])

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), C: four observers, twelve units, data missing.
CODINGS = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, math.nan, math.nan, math.nan],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, math.nan, 3],
    [math.nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, math.nan],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, math.nan],
]).T  # fmt: skip

# Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets" (JMLR 2006), Table 6. The third value of the
# last row but one is printed as .975, with rank 2 before the fourth's 3.
AUC = np.array([
    [.763, .768, .771, .798], [.599, .591, .590, .569], [.954, .971, .968, .967], [.628, .661, .654, .657],
    [.882, .888, .886, .898], [.936, .931, .916, .931], [.661, .668, .609, .685], [.583, .583, .563, .625],
    [.775, .838, .866, .875], [1.000, 1.000, 1.000, 1.000], [.940, .962, .965, .962], [.619, .666, .614, .669],
    [.972, .981, .9751, .975], [.957, .978, .946, .970],
])  # fmt: skip


def test_p910_is_that_of_its_appendix():
    found = opinion.consistent(VOTES)
    for name, values in (("mos_j", found.mean), ("sos_j", found.spread), ("bias_i", found.bias)):
        np.testing.assert_allclose(values, GOLDEN[name], rtol=0, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(found.inconsistency, GOLDEN["inconsistency_i"], rtol=0, atol=1e-9)


def test_a_plain_mean_has_students_interval():
    found = opinion.plain(np.array([[1.0, 2.0, 3.0, math.nan], [4.0, math.nan, math.nan, math.nan]]))
    assert found.mean.tolist() == [2.0, 4.0] and found.votes.tolist() == [3, 1]
    # t of 2 degrees of freedom at 97.5 % is 4.302653; the standard error of 1, 2, 3 is 1/√3.
    assert found.high[0] - 2 == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)
    assert math.isnan(found.low[1])


def bt500(votes: np.ndarray) -> list[bool]:
    """Recommendation ITU-R BT.500-14, Annex 1, 2.3.1, step by step."""
    people = votes.shape[1]
    above, below = [0] * people, [0] * people
    for row in votes:
        given = [vote for vote in row if not math.isnan(vote)]
        mean = sum(given) / len(given)
        deviation = math.sqrt(sum((vote - mean) ** 2 for vote in given) / (len(given) - 1))
        second = sum((vote - mean) ** 2 for vote in given) / len(given)
        fourth = sum((vote - mean) ** 4 for vote in given) / len(given)
        if not second:
            continue
        reach = 2 * deviation if 2 <= fourth / second**2 <= 4 else math.sqrt(20) * deviation
        for person, vote in enumerate(row):
            above[person] += vote >= mean + reach
            below[person] += vote <= mean - reach
    rejected = []
    for person in range(people):
        far, cast = above[person] + below[person], sum(not math.isnan(vote) for vote in votes[:, person])
        rejected.append(far / cast > 0.05 and abs((above[person] - below[person]) / far) < 0.3)
    return rejected


def test_bt500_rejects_as_its_text_says():
    drawn = np.random.default_rng(3)
    wild = np.clip(np.round(drawn.normal(3, 0.6, (80, 14))), 1, 5)
    wild[:, 4] = np.where(drawn.random(80) < 0.5, 1, 5)
    wild[3, 2] = math.nan
    for votes in (VOTES, wild):
        assert opinion.rejected(votes).tolist() == bt500(votes)
    assert opinion.rejected(wild)[4] and opinion.rejected(VOTES).any()


def test_agreement_is_krippendorffs_published_value():
    evalica = pytest.importorskip("evalica")
    pandas = pytest.importorskip("pandas")
    assert opinion.agreement(CODINGS, "nominal") == pytest.approx(904 / 1216, abs=1e-6)
    # 0.815 (ordinal) and 0.849 (interval) in the paper, which prints three digits; evalica has the rest.
    for level, printed in (("ordinal", 0.815), ("interval", 0.849)):
        other = evalica.alpha(pandas.DataFrame(CODINGS.T), distance=level).alpha
        assert opinion.agreement(CODINGS, level) == pytest.approx(other, abs=1e-6) == pytest.approx(printed, abs=5e-4)
    assert opinion.agreement(np.full((3, 3), 2.0), "interval") is None


def test_two_methods_differ_by_the_logarithm_of_their_odds():
    found = preference.bradley_terry(np.array([[0.0, 9.0], [3.0, 0.0]]))
    assert found[0] - found[1] == pytest.approx(math.log(3), abs=1e-9) and found.sum() == pytest.approx(0)


def test_strengths_are_those_of_choix():
    choix = pytest.importorskip("choix")
    table = np.array([[0, 7, 5, 9], [3, 0, 6, 8], [5, 4, 0, 6.5], [1, 2, 3.5, 0]])
    single = [(i, j) for i in range(4) for j in range(4) for _ in range(round(2 * table[i, j]))]
    theirs = choix.opt_pairwise(4, single, tol=1e-12)
    ours = preference.bradley_terry(table)
    np.testing.assert_allclose(ours, theirs - theirs.mean(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(preference.newton(table, np.zeros(4)), ours, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([[0, 5], [0, 0]], "preferred every time"),
        ([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], "never compared"),
    ],
)
def test_strengths_that_are_not_finite_are_not_made_up(table: list[list[float]], said: str):
    with pytest.raises(ItemError, match=said):
        preference.bradley_terry(np.array(table, dtype=float))


def test_the_interval_of_a_strength_covers_it_about_as_often_as_it_says():
    true, covered, trials = np.array([0.8, 0.0, -0.8]), 0, 40
    for trial in range(trials):
        draw = np.random.default_rng(trial)
        votes = []
        for scene in range(12):
            for person in range(8):
                for first, second in ((0, 1), (0, 2), (1, 2)):
                    share = float(draw.random() < 1 / (1 + math.exp(true[second] - true[first])))
                    votes.append(Comparison(first, second, share, scene, person))
        found = preference.with_bootstrap(votes, 3, resamples=150, seed=trial)
        covered += int(((found.low <= true) & (true <= found.high)).sum())
    assert 0.88 * 3 * trials <= covered


def test_elo_ranks_like_the_votes_and_keeps_its_mean():
    votes = [Comparison(0, 1, 1.0)] * 20 + [Comparison(1, 2, 1.0)] * 20 + [Comparison(0, 1, 0.5)]
    found = preference.elo(votes, 3)
    assert found[0] > found[1] > found[2] and found.mean() == pytest.approx(1500)


def test_friedman_and_nemenyi_are_demsars():
    found = ranking.friedman(-AUC)
    assert found is not None
    np.testing.assert_allclose(found.mean, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert found.difference == pytest.approx(1.25, abs=5e-3)
    assert [ranking.critical(k, 1) / math.sqrt(k * (k + 1) / 6) for k in (2, 3, 4, 5)] == pytest.approx(
        [1.960, 2.343, 2.569, 2.728], abs=1e-3
    )
    # 9.28 in the paper without the correction for ties, which scipy makes: 14·4·5·9.28 is what it divides.
    squares = 12 * 14 / (4 * 5) * (sum(np.array([3.143, 2.000, 2.893, 1.964]) ** 2) - 4 * 25 / 4)
    assert squares == pytest.approx(9.28, abs=0.02) and found.statistic >= squares
    assert ranking.friedman(np.ones((5, 3))) is None


def test_how_many_votes_are_needed():
    # Normal approximation of a sign test at 60 %: (1.95996·0.5 + 0.84162·√0.24)² / 0.01 = 193.9.
    found = _pair_apart("a", "b", ["a", "b"], np.array([[0.0, 60.0], [40.0, 0.0]]))
    assert (found.difference, found.votes, found.more) == (0.6, 100, 94)
    # A mean half its standard deviation from 0: (1.95996 + 0.84162)² / 0.25 = 31.4.
    assert _needed(0.5, 1.0) == pytest.approx(31.395, abs=1e-2)
    assert _more(math.inf, 5) is None


def test_information_gain_is_the_mutual_information_of_an_answer_and_the_strengths():
    known = posterior(np.array([[0.0, 6, 9], [2, 0, 5], [0, 3, 0]]))
    draw = np.random.default_rng(0)
    sampled = draw.multivariate_normal(known.mean, known.covariance, 400_000)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        chance = 1 / (1 + np.exp(sampled[:, second] - sampled[:, first]))

        def entropy(p: np.ndarray) -> np.ndarray:
            return -(p * np.log(p) + (1 - p) * np.log1p(-p))

        expected = float(entropy(chance.mean()) - entropy(chance).mean())
        assert gain(known, first, second) == pytest.approx(expected, abs=5e-4)


def test_questions_go_where_an_answer_says_most_and_to_nobody_twice():
    every = list(itertools.combinations(range(4), 2))
    pairs, true = dict(enumerate(every * 30)), [1.6, 1.4, -1.4, -1.6]
    chooser, asked = Chooser(pairs, 4), dict.fromkeys(every, 0)
    draw = np.random.default_rng(1)
    for person in range(6):
        had = set()
        for _ in range(15):
            chosen = chooser.choose(f"s{person}")
            assert chosen is not None and chosen[0] not in had
            question, turn = chosen
            had.add(question)
            first, second = pairs[question]
            asked[first, second] += 1
            wins = draw.random() < 1 / (1 + math.exp(true[second] - true[first]))
            shown = [1.0, 0.0] if wins != bool(turn) else [0.0, 1.0]
            chooser.answered(f"s{person}", question, turn, shown)
    # Those that are close are compared more often than chance would have it, which is 15 times each.
    assert asked[0, 1] + asked[2, 3] > 2 * 15 * 1.4 and max(asked, key=lambda pair: asked[pair]) in ((0, 1), (2, 3))
    assert Chooser({0: (0, 1)}, 2).choose("a") == (0, 0)


@pytest.mark.parametrize("scenes, people", [(1, 8), (8, 1), (1, 1)])
def test_one_person_or_one_scene_says_nothing_of_others(scenes: int, people: int):
    made = [
        preference.Comparison(0, 1, float((scene + person + again) % 3 > 0), scene, person)
        for scene in range(scenes) for person in range(people) for again in range(3)
    ]  # fmt: skip
    found = preference.with_bootstrap(made, 2, resamples=50)
    assert np.isnan(found.low).all() and np.isnan(found.high).all()
    assert found.values == pytest.approx([math.log(2) / 2, -math.log(2) / 2])


def test_outliers_are_those_of_scipys_z():
    draw = np.random.default_rng(3)
    votes = draw.normal(3, 0.3, (5, 24))
    votes[0, 3], votes[1, 7], votes[2, :14] = 9, -4, np.nan
    votes[2, 20] = 9  # of ten votes none can lie 3.29 deviations away
    found = np.isnan(opinion.without_outliers(votes))
    for row, out in zip(votes, found, strict=True):
        with np.errstate(invalid="ignore"):
            far = np.abs(stats.zscore(row, nan_policy="omit")) > 3.29
        assert (out & ~np.isnan(row)).tolist() == np.asarray(far, dtype=bool).tolist()
    assert found[0, 3] and found[1, 7] and not found[2, 20]


def test_names_do_not_break_a_table():
    assert text._table(["Method", "a|b"], [["x|y", "1"]]).count("\\|") == 2
    estimate = Estimate(0.5)
    found = Agreement("d|e", "ratings", "m|n", "s", estimate, estimate, estimate, 3, 3.0)
    row = render([found], "markdown").splitlines()[2]
    assert "d\\|e" in row and "m\\|n" in row


def test_one_vote_is_too_few_to_say_what_more_votes_would_do():
    none, tied = _means_apart("a", "b", np.array([1.0])), _means_apart("a", "b", np.array([1.0, -1.0]))
    told = list(text._apart([none, tied], "a difference of"))
    assert told == [
        "- a and b: too few votes to say anything (1 now)",
        "- a and b: as things are no number of votes would tell them apart (2 now)",
    ]
