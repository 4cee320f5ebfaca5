"""The ledger of claims, each with its check and its verdict."""

from .agreement import AGREEMENT_CLAIMS
from .deep import DEEP_CLAIMS
from .findings import ExperimentEntry, experiment_entries
from .flow import FLOW_CLAIMS
from .generalised import GENERALISED_CLAIMS
from .hessian import HESSIAN_CLAIMS
from .ledger import CheckResult, Claim, Entry, Evidence, Kind, Settings, Verdict, failed_entries, verify
from .listing import count_verdicts, ledger_parts
from .markdown import to_markdown
from .networks import NETWORK_CLAIMS
from .output import OUTPUT_CLAIMS
from .plane import PLANE_CLAIMS
from .published import PUBLISHED_CLAIMS
from .reduced import REDUCED_CLAIMS
from .scaling import SCALING_CLAIMS
from .stability import STABILITY_CLAIMS
from .starts import START_CLAIMS
from .width import WIDTH_CLAIMS

CLAIMS: tuple[Claim, ...] = (
    *PUBLISHED_CLAIMS,
    *START_CLAIMS,
    *OUTPUT_CLAIMS,
    *GENERALISED_CLAIMS,
    *STABILITY_CLAIMS,
    *HESSIAN_CLAIMS,
    *PLANE_CLAIMS,
    *FLOW_CLAIMS,
    *DEEP_CLAIMS,
    *AGREEMENT_CLAIMS,
    *REDUCED_CLAIMS,
    *WIDTH_CLAIMS,
    *SCALING_CLAIMS,
    *NETWORK_CLAIMS,
)
"""Every claim of the ledger, in the order of checking."""

__all__ = [
    "CLAIMS",
    "CheckResult",
    "Claim",
    "Entry",
    "Evidence",
    "ExperimentEntry",
    "Kind",
    "Settings",
    "Verdict",
    "count_verdicts",
    "experiment_entries",
    "failed_entries",
    "ledger_parts",
    "to_markdown",
    "verify",
]
