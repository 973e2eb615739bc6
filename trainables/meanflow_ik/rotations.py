"""Rotations as matrices, quaternions (w x y z) and in 6 dimensions; for arrays of NumPy and of JAX alike."""

from typing import Any

Array = Any
"""An array of NumPy or of JAX: results are of the same library."""


def _unit(x: Array) -> Array:
    xp = x.__array_namespace__()
    return x / xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True))


def matrix_from_quaternion(quaternion: Array) -> Array:
    """Return rotation matrices (*batch, 3, 3) of quaternions (*batch, 4), w first, of any length but 0."""
    xp = quaternion.__array_namespace__()
    w, x, y, z = xp.moveaxis(_unit(quaternion), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_from_matrix(matrix: Array) -> Array:
    """Return unit quaternions (*batch, 4), w first and not negative, of rotation matrices (*batch, 3, 3).

    Four times each component times the quaternion is known without a root; the largest of the four is divided by its
    length, so that nothing is lost near half a turn (Shepperd 1978).
    """
    xp = matrix.__array_namespace__()
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    trace = m[0][0] + m[1][1] + m[2][2]
    wx, wy, wz = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    xy, xz, yz = m[0][1] + m[1][0], m[0][2] + m[2][0], m[1][2] + m[2][1]
    squares = [1 + trace, *(1 - trace + 2 * m[i][i] for i in range(3))]
    rows = [[squares[0], wx, wy, wz], [wx, squares[1], xy, xz], [wy, xy, squares[2], yz], [wz, xz, yz, squares[3]]]
    candidates = xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
    largest = xp.argmax(xp.stack(squares, axis=-1), axis=-1)
    chosen = xp.take_along_axis(candidates, largest[..., None, None], axis=-2)[..., 0, :]
    return _unit(xp.where(chosen[..., :1] < 0, -chosen, chosen))


def six_d_from_matrix(matrix: Array) -> Array:
    """Return the first two columns (*batch, 6) of rotation matrices: without jumps (Zhou et al. 2019)."""
    xp = matrix.__array_namespace__()
    return xp.concatenate([matrix[..., 0], matrix[..., 1]], axis=-1)


def matrix_from_six_d(six_d: Array) -> Array:
    """Return rotation matrices (*batch, 3, 3) of two vectors (*batch, 6), made orthonormal by Gram and Schmidt."""
    xp = six_d.__array_namespace__()
    x = _unit(six_d[..., :3])
    y = _unit(six_d[..., 3:] - xp.sum(x * six_d[..., 3:], axis=-1, keepdims=True) * x)
    return xp.stack([x, y, xp.cross(x, y)], axis=-1)


def rotation_vector(matrix: Array) -> Array:
    """Return axis times angle (*batch, 3), in radians up to pi, of rotation matrices (*batch, 3, 3)."""
    xp = matrix.__array_namespace__()
    quaternion = quaternion_from_matrix(matrix)
    sine = xp.sqrt(xp.sum(quaternion[..., 1:] ** 2, axis=-1, keepdims=True))
    # Near 0 the angle over the sine of its half is 2.
    is_small = sine < 1e-12
    ratio = xp.where(is_small, 2.0, 2 * xp.arctan2(sine, quaternion[..., :1]) / xp.where(is_small, 1.0, sine))
    return ratio * quaternion[..., 1:]


def rotation_angle(matrix: Array) -> Array:
    """Return the angle (*batch,) in radians of rotation matrices: 2 atan2(|vec|, |w|).

    The arc cosine of the trace would resolve no angle below 0.02 degrees in float32.
    """
    xp = matrix.__array_namespace__()
    quaternion = quaternion_from_matrix(matrix)
    sine = xp.sqrt(xp.sum(quaternion[..., 1:] ** 2, axis=-1))
    return 2 * xp.arctan2(sine, xp.abs(quaternion[..., 0]))


def relative(rotation: Array, other: Array) -> Array:
    """Return the rotations (*batch, 3, 3) that turn the first into the second: other rotation^T."""
    xp = rotation.__array_namespace__()
    return xp.einsum("...ij,...kj->...ik", other, rotation)
