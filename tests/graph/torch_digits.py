"""An Xception of PyTorch, trained on digits and exported: what ``edgex quantize`` is given by a user of PyTorch.

    python torch_digits.py DIGITS.npz FOLDER

``DIGITS.npz``, made by ``torch_digits_file.py``, has ``train`` and ``test`` uint8 (images, height, width, 3), and
``labels`` of those in ``train``. It writes ``FOLDER/xception.onnx``, and ``FOLDER/answers.npz`` with the ``logits`` of
the images in ``test``, of the same module in memory. Pixels are scaled as for torchvision's own networks, by ToTensor
and Normalize, which are written out here; in edgex that is ``--preprocess imagenet``.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its users' habit
from torch import Tensor
from torch_models import Xception, export

EPOCHS = 14
BATCH = 32
RATE = 3e-3
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def main() -> None:
    digits, folder = np.load(sys.argv[1]), Path(sys.argv[2])
    torch.manual_seed(0)
    torch.set_num_threads(1)  # as fast as two where other tests run beside it, and the same everywhere
    model = train(Xception(width=1 / 8, middle=8), scaled(digits["train"]), torch.from_numpy(digits["labels"]).long())
    test = scaled(digits["test"])
    with torch.inference_mode():
        logits = torch.cat([model(images) for images in test.split(100)])
    np.savez(folder / "answers.npz", logits=logits.numpy())
    export(model, test[:1], folder / "xception.onnx", "dynamo", "one")


def scaled(pixels: np.ndarray) -> Tensor:
    """What torchvision's ToTensor and Normalize make of them."""
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - MEAN) / DEVIATION


def train(model: Xception, images: Tensor, labels: Tensor) -> Xception:
    """In place; ready to be asked."""
    steps = EPOCHS * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    model.train()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images))[: len(images) // BATCH * BATCH].split(BATCH):
            loss = F.cross_entropy(model(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


if __name__ == "__main__":
    main()
