"""Quadrature on [0, 1]: nodes and weights, in NumPy, as constants of the compiled program."""

from typing import Literal

import numpy as np
from jaxtyping import Float64

RuleName = Literal["trapezoid", "simpson", "gauss_legendre"]
Nodes = Float64[np.ndarray, " nodes"]


def rule(name: RuleName, num: int) -> tuple[Nodes, Nodes]:
    """Return the nodes in [0, 1] and their weights, which sum to 1.

    The composite trapezoid has an error of order 2 in the distance of the nodes, the composite Simpson rule (an odd
    number of nodes) of order 4, and Gauss-Legendre is exact for polynomials of degree 2 num - 1.
    """
    if name == "gauss_legendre":
        nodes, weights = np.polynomial.legendre.leggauss(num)
        return (nodes + 1) / 2, weights / 2
    weights = np.ones(num)
    if name == "trapezoid":
        weights[[0, -1]] = 0.5
    else:
        assert num % 2, "Simpson's rule takes an odd number of nodes"
        weights[1:-1:2], weights[2:-1:2] = 4.0, 2.0
    return np.linspace(0.0, 1.0, num), weights / weights.sum()


def cumulative_trapezoid(num: int) -> Float64[np.ndarray, "nodes nodes"]:
    """Return C with (C g)_k the trapezoid of g from node k to the last, for nodes a distance of 1 apart."""
    after = np.triu(np.ones((num, num)))
    after[np.arange(num), np.arange(num)] = 0.5
    after[:, -1] = 0.5
    after[-1, -1] = 0.0
    return after


def base_point_weights(num: int) -> Nodes:
    """Return w with w.g the trapezoid over all nodes of the integrals of g from each node to the last.

    For nodes that divide [0, 1] evenly: the double integral of the base-point estimate, as one weighted sum.
    """
    _, outer = rule("trapezoid", num)
    return outer @ cumulative_trapezoid(num) / (num - 1)
