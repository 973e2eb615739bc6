import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainables._shared.choice import Choice
from trainables.two_body.activations import ACTIVATIONS, activate

Z = jnp.linspace(-4.0, 4.0, 41)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("company", [(), ("leaky_relu", "tanh"), tuple(ACTIVATIONS)])
def test_value_and_slope_are_the_activations_in_any_company(name, company):
    values = tuple(sorted({name, *company}))
    choice = Choice("activation", values, jnp.asarray(values.index(name)) if company else None)
    with jax.enable_x64(True):
        z = jnp.asarray(Z, jnp.float64)
        np.testing.assert_allclose(activate(choice, z), ACTIVATIONS[name].value(z))
        slope = jax.jit(jax.grad(lambda z: jnp.sum(jnp.sin(activate(choice, z)))))(z)
        plain = jax.grad(lambda z: jnp.sum(jnp.sin(ACTIVATIONS[name].value(z))))(z)
    np.testing.assert_allclose(slope, plain, atol=1e-6)
