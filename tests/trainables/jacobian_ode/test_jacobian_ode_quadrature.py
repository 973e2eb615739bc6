import numpy as np
import pytest
from scipy.integrate import quad
from scipy.interpolate import CubicSpline

from trainables.jacobian_ode.paths import evenly, natural_spline, spline_nodes, straight_line
from trainables.jacobian_ode.quadrature import base_point_weights, cumulative_trapezoid, rule


def smooth(u):
    return np.exp(1.3 * u) * np.sin(2 * u + 0.3)


EXACT = quad(smooth, 0, 1, epsabs=1e-14)[0]


@pytest.mark.parametrize(
    ("name", "order", "nodes"), [("trapezoid", 2, (9, 17, 33, 65)), ("simpson", 4, (9, 17, 33, 65))]
)
def test_composite_rules_have_their_order(name, order, nodes):
    errors = []
    for num in nodes:
        u, w = rule(name, num)
        errors.append(abs(w @ smooth(u) - EXACT))
    slope, _ = np.polyfit(np.log(np.array(nodes) - 1), np.log(errors), 1)
    assert -slope == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("num", [2, 3, 5, 8])
def test_gauss_legendre_is_exact_to_degree_2n_minus_1_and_no_further(num):
    u, w = rule("gauss_legendre", num)
    for degree in range(2 * num):
        assert w @ u**degree == pytest.approx(1 / (degree + 1), abs=1e-14)
    assert abs(w @ u ** (2 * num) - 1 / (2 * num + 1)) > 1e-13


@pytest.mark.parametrize("name", ["trapezoid", "simpson", "gauss_legendre"])
def test_weights_sum_to_the_length_of_the_interval(name):
    u, w = rule(name, 7)
    assert w.sum() == pytest.approx(1.0)
    assert u.min() >= 0
    assert u.max() <= 1


def test_cumulative_trapezoid_integrates_from_each_node_to_the_last():
    g = np.array([1.0, 4.0, 2.0, 6.0])
    expected = [np.trapezoid(g[k:]) for k in range(4)]
    np.testing.assert_allclose(cumulative_trapezoid(4) @ g, expected)


def test_base_point_weights_are_the_double_integral():
    # The integral over tau of the integral of g from tau to 1 is that of r g(r).
    errors = []
    for num in (11, 21, 41):
        r = np.linspace(0, 1, num)
        errors.append(abs(base_point_weights(num) @ smooth(r) - quad(lambda r: r * smooth(r), 0, 1)[0]))
    slope, _ = np.polyfit(np.log([10, 20, 40]), np.log(errors), 1)
    assert -slope == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(("name", "num", "order"), [("trapezoid", 3, 2), ("gauss_legendre", 2, 4)])
def test_nodes_along_a_spline_give_the_double_integral(name, num, order):
    errors, samples = [], (6, 11, 21)
    for count in samples:
        times, weights = spline_nodes(name, count, num)
        share = times / (count - 1)
        errors.append(abs(weights @ smooth(share) / (count - 1) ** 2 - quad(lambda r: r * smooth(r), 0, 1)[0]))
    slope, _ = np.polyfit(np.log(np.array(samples) - 1), np.log(errors), 1)
    assert -slope == pytest.approx(order, abs=0.1)


def test_spline_is_scipys_natural_one():
    x = np.random.default_rng(0).normal(size=(9, 3))
    path = natural_spline(9, evenly(9, 4))
    assert path.points.shape == (8 * 3 + 1, 9)
    t = np.linspace(0, 8, 25)
    spline = CubicSpline(np.arange(9), x, bc_type="natural")
    np.testing.assert_allclose(path.points @ x, spline(t), atol=1e-12)
    np.testing.assert_allclose(path.derivatives @ x, spline(t, 1), atol=1e-12)
    np.testing.assert_allclose((path.points @ x)[::3], x, atol=1e-12)


def test_line_goes_from_the_first_sample_to_the_second():
    path = straight_line(np.array([0.0, 0.25, 1.0]))
    ends = np.array([[1.0, 2.0], [3.0, -2.0]])
    np.testing.assert_allclose(path.points @ ends, [[1, 2], [1.5, 1], [3, -2]])
    np.testing.assert_allclose(path.derivatives @ ends, [[2, -4]] * 3)
