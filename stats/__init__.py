"""Statistics of runs: resampling, slopes, power laws, best learning rates, and verdicts on claims."""

from .estimates import Estimate
from .offset import OffsetLaw, offset_law_fit
from .over_time import growth
from .power_laws import PowerLaw, power_law_fit
from .slopes import SizeDependence, size_dependence, size_slopes
from .super_consistency import consistency
from .transfer import TransferVerdict, transfer_verdict
from .windows import AfterArrival, Last, Steps, Throughout, settled

__all__ = [
    "AfterArrival",
    "Estimate",
    "Last",
    "OffsetLaw",
    "PowerLaw",
    "SizeDependence",
    "Steps",
    "Throughout",
    "TransferVerdict",
    "consistency",
    "growth",
    "offset_law_fit",
    "power_law_fit",
    "settled",
    "size_dependence",
    "size_slopes",
    "transfer_verdict",
]
