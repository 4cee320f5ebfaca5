"""Statistics of runs: resampling, slopes, power laws, best learning rates, and verdicts on claims."""

from .consistency import consistency
from .power_laws import WidthDependence, settled, width_dependence
from .transfer import LearningRateTransfer, learning_rate_transfer, transfer_verdict

__all__ = [
    "LearningRateTransfer",
    "WidthDependence",
    "consistency",
    "learning_rate_transfer",
    "settled",
    "transfer_verdict",
    "width_dependence",
]
