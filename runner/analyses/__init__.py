"""Analyses of the latent system and of networks, each a module with an `ANALYSIS`, loaded when it is used."""
