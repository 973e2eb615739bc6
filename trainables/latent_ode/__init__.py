"""An ODE behind irregularly sampled series: a variational autoencoder whose latent state follows it."""
