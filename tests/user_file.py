"""What several tests of the command `curvature` take for a user's file."""

USER_FILE = """
import torch
from torch import nn

def model():
    print("noise on stdout")
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()

def warming():
    made = model()
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 10)
    return made, optimizer

class Language(nn.Module):
    def __init__(self, tokens):
        super().__init__()
        self.word, self.read = nn.Embedding(tokens, 4), nn.Linear(4, tokens)

    def forward(self, tokens):
        return {"logits": self.read(torch.tanh(self.word(tokens))), "other": tokens}
"""
