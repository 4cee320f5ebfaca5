"""The ledger of claims, each with its check and its verdict."""

from .agreement import AGREEMENT_CLAIMS
from .ledger import Claim, Entry, Evidence, Kind, Outcome, Settings, Verdict, failed, verify
from .networks import NETWORK_CLAIMS
from .symbolic import SYMBOLIC_CLAIMS

CLAIMS: tuple[Claim, ...] = (*SYMBOLIC_CLAIMS, *AGREEMENT_CLAIMS, *NETWORK_CLAIMS)
"""Every claim of the ledger, in the order of checking."""

__all__ = [
    "CLAIMS",
    "Claim",
    "Entry",
    "Evidence",
    "Kind",
    "Outcome",
    "Settings",
    "Verdict",
    "failed",
    "verify",
]
