"""A small language model and padded batches of dictionaries, to measure on any text or on data of one's own.

Two commands that measure it:

    superconsistency curvature docs/examples/small_language_model.py:bytewise --data README.md --examples 8
    superconsistency curvature docs/examples/small_language_model.py:bytewise --data
        docs/examples/small_language_model.py:sentences
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

IGNORED = -100
"""Label of padding, which cross-entropy skips."""


class Sentences(Dataset[str]):
    """Texts of different lengths."""

    texts = ("The cat sat on the mat.", "Dogs bark.", "It rains.", "A watched pot never boils.")

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> str:
        return self.texts[index]


class SmallLanguageModel(nn.Module):
    """One causal attention layer; tokens (B, T) to logits (B, T, tokens)."""

    def __init__(self, tokens: int = 256, positions: int = 64, width: int = 16) -> None:
        super().__init__()
        self.word = nn.Embedding(tokens, width)
        self.position = nn.Embedding(positions, width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.readout = nn.Linear(width, tokens)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Logits; masked tokens are not looked at."""
        time = input_ids.shape[1]
        hidden = self.word(input_ids) + self.position(torch.arange(time, device=input_ids.device))
        ahead = torch.ones(time, time, dtype=torch.bool, device=input_ids.device).triu(1)
        padding = None if attention_mask is None else attention_mask == 0
        mixed, _ = self.attention(
            hidden, hidden, hidden, attn_mask=ahead, key_padding_mask=padding, need_weights=False
        )
        return {"logits": self.readout(hidden + mixed)}


def bytewise() -> tuple[nn.Module, torch.optim.Optimizer]:
    """The model at initialisation, and the optimizer that it is to be trained with."""
    model = SmallLanguageModel()
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3)


def padded(sentences: list[str]) -> dict[str, torch.Tensor]:
    """Bytes as tokens, padded at the end, with the next bytes as labels."""
    texts = [list(sentence.encode()) for sentence in sentences]
    longest = max(map(len, texts)) - 1
    spare = [longest + 1 - len(text) for text in texts]
    return {
        "input_ids": torch.tensor([text[:-1] + [0] * more for text, more in zip(texts, spare, strict=True)]),
        "attention_mask": torch.tensor(
            [[1] * (len(text) - 1) + [0] * more for text, more in zip(texts, spare, strict=True)]
        ),
        "labels": torch.tensor(
            [text[1:] + [IGNORED] * more for text, more in zip(texts, spare, strict=True)]
        ),
    }


sentences = DataLoader(Sentences(), batch_size=4, collate_fn=padded)
