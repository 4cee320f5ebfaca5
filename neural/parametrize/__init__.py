"""The parametrization table applied to a network of the user's own, whose forward pass stays as it is.

A layer with a multiplier trains the same function as one without whose weights and learning rates are scaled
instead (`theory.LayerRule.rescaled`). So every multiplier of a weight goes into its initial values and rates.
What is left in the forward pass is a factor on the outputs of residual branches, on queries of
`nn.MultiheadAttention`, whose weights share a tensor with those of keys and values, and on the inputs of a
readout that is tied to an embedding.

With a base, all sizes are ratios to the base's: at these the network is as it was, with one learning rate.
Every parameter's root mean square becomes that of the base's, times the root of the table's variance; one of
zeros stays. A base layer of n weights fixes it to a part of about `1 / sqrt(2 n)`, the same at every width.

Without a base, sizes are the network's own and weights get the table's variance: the network is parametrized
as those of this package are, and eta0 means what it means there. Vectors start as they were.
"""

from .parametrized import Parametrized, Row
from .plan import parametrize

__all__ = ["Parametrized", "Row", "parametrize"]
