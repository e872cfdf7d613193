# SPDX-License-Identifier: MIT
"""What the generators share: rows of different lengths, with masked tokens, as padded tensors."""
import numpy as np
import torch

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
EXP_LIMIT = 20.0


def f32(x):
    return np.asarray(x, dtype=np.float32).astype(np.float64)


class Ragged:
    """Rows of different lengths, some tokens masked; packs to and from padded tensors of the tokens that count."""

    def __init__(self, lengths, mask=None):
        self.offset = np.concatenate([[0], np.cumsum(lengths)]).astype(int)
        self.tokens = int(self.offset[-1])
        self.mask = np.ones(self.tokens, bool) if mask is None else np.asarray(mask, bool)
        self.masked = mask is not None
        self.index = [[i for i in range(self.offset[r], self.offset[r + 1]) if self.mask[i]]
                      for r in range(len(lengths))]
        self.width = max([len(i) for i in self.index] + [1])
        self.valid = torch.zeros(len(lengths), self.width, dtype=torch.bool)
        for r, i in enumerate(self.index):
            self.valid[r, :len(i)] = True

    def pad(self, flat, fill=0.0):
        out = torch.full(self.valid.shape, fill)
        for r, i in enumerate(self.index):
            out[r, :len(i)] = torch.as_tensor(np.asarray(flat)[i])
        return out

    def flat(self, padded):
        out = np.zeros(self.tokens)
        for r, i in enumerate(self.index):
            out[i] = padded.detach().numpy()[r, :len(i)]
        return out

    def input(self, flat):
        """An input array with its masked tokens poisoned."""
        return [float(x) if m else None for x, m in zip(flat, self.mask)]

    def shape(self):
        return {"offset": self.offset.tolist(), "mask": self.mask.astype(int).tolist() if self.masked else None}


def values(metrics):
    return {k: float(torch.as_tensor(v).detach()) for k, v in metrics.items()}


def masked_mean(x, mask):
    return (x * mask).sum() / mask.sum()


def masked_whiten(x, mask, shift_mean=True):
    mean = masked_mean(x, mask)
    var = masked_mean((x - mean) ** 2, mask)
    n = mask.sum()
    if n > 1:
        var = var * n / (n - 1)
    white = (x - mean) * torch.rsqrt(var + 1e-8)
    return white if shift_mean else white + mean


LENGTHS = [3, 1, 5, 0, 2, 7, 4, 1]
