"""The paper's figures as experiments, by subject."""
