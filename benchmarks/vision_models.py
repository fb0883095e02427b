"""Trace torchvision's models, for the tables of measured memory.

Run as a script it is the tracer: a JSON request a line on standard input, and for each of them
the trace or {"error": one line} as a line on standard output.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any

# What tables call a model of which torchvision has several, and mean by it.
_ALIASES = {
    "mnasnet": "mnasnet1_0",
    "squeezenet": "squeezenet1_0",
    "shufflenet": "shufflenet_v2_x1_0",
    "shufflenetv2": "shufflenet_v2_x1_0",
    "inception": "inception_v3",
    "maxvit": "maxvit_t",
    "resnext50": "resnext50_32x4d",
    "resnext101": "resnext101_32x8d",
    "wideresnet50": "wide_resnet50_2",
    "wideresnet101": "wide_resnet101_2",
    **{f"swin{version}{word}": f"swin_{'v2_' * bool(version)}{word[0]}"
       for version in ("", "v2") for word in ("tiny", "small", "base")},
    **{f"efficientnetv2{word}": f"efficientnet_v2_{word[0]}"
       for word in ("small", "medium", "large")},
    **{f"vit{word}{patch}": f"vit_{word[0]}_{patch}"
       for word in ("base", "large", "huge") for patch in (14, 16, 32)},
}  # fmt: skip
_TEN_CLASSES = ("mnasnet", "mobilenetv3")  # as the measured rows had them; the others 1000
_AUXILIARY = 299  # pixels from which inception_v3's auxiliary classifier has a picture left


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).replace("mobenet", "mobilenet")


def _decimal(name: str) -> str:
    """Like `_plain`, but 1.6 and 16 stay apart."""
    return _plain(re.sub(r"(?<=\d)[._](?=\d)", "point", name))


def torchvision_name(model: str) -> str | None:
    """Return the function of torchvision.models that a table's model name means."""
    import torchvision

    name = model.removeprefix("torchvision.models.").rsplit("/", 1)[-1]
    if len(name) < 4:  # ViT-B/16
        name = model
    known = torchvision.models.list_models(torchvision.models)
    if (alias := _ALIASES.get(_plain(name))) in known:
        return alias
    for spelling in (_decimal, _plain):
        alike = [each for each in known if spelling(each) == spelling(name)]
        if len(alike) == 1:
            return str(alike[0])
    return None


def classes_of(model: str, image_size: int) -> int:
    """Return how many classes the measured rows had."""
    return 10 if image_size == 86 and _plain(model).startswith(_TEN_CLASSES) else 1000


def optimizer_class(name: str) -> Any:
    """Return the optimizer that a table names, however it writes capitals.

    Raises:
        LookupError: PyTorch has none of that name.
    """
    import torch

    for each, kind in vars(torch.optim).items():
        if each.lower() == name.lower() and isinstance(kind, type):
            return kind
    raise LookupError(f"torch.optim has no {name}")


def _own_arguments(name: str, size: int) -> dict[str, Any]:
    """Return what a model must be told to take pictures of `size` pixels at all."""
    if name.startswith("vit_"):
        return {"image_size": size}
    if name == "maxvit_t":
        return {"input_size": (size, size)}
    if name == "inception_v3":
        return {"aux_logits": size >= _AUXILIARY, "init_weights": True}
    return {"init_weights": True} if name == "googlenet" else {}


def training_task(request: dict[str, Any]) -> tuple[Any, Any]:
    """Make the task and plan of a convolutional network's row.

    Raises:
        LookupError: there is no such model, or no such optimizer.
    """
    import torch
    import torchvision

    from batchtui.forecast.rehearsal import Plan, Task

    size = request["image_size"]
    name = torchvision_name(request["model"])
    if name is None:
        raise LookupError(f"torchvision has no {request['model']}")
    classes = request["classes"] or classes_of(name, size)
    optimizer = optimizer_class(request["optimizer"])

    def batch(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.empty(samples, 3, size, size), torch.zeros(samples, dtype=torch.int64)

    task = Task(
        model=lambda: getattr(torchvision.models, name)(
            num_classes=classes, **_own_arguments(name, size)
        ),
        batch=batch,
        forward=lambda model, batch: model(batch[0]),
        loss=lambda output, batch: torch.nn.functional.cross_entropy(
            output if isinstance(output, torch.Tensor) else output[0], batch[1]
        ),
        optimizer=lambda parameters: optimizer(parameters, lr=1e-3),
    )
    modes: dict[int, Any] = {0: "start", 1: "backward", 2: "end"}
    return task, Plan(zero_grad=modes[request["zero_grad"]])


def _main() -> None:
    """Answer each request on standard input with a trace, or an error, in one line."""
    from batchtui.errors import BatchtuiError
    from batchtui.forecast.trace import trace_model

    # It tells of each operator that fails; the answer says it in a line.
    logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            task, plan = training_task(request)
            answer = trace_model(task, plan, batch_sizes=tuple(request["batch_sizes"])).to_json()
        except (BatchtuiError, LookupError) as error:
            answer = json.dumps({"error": str(error)})
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            answer = json.dumps({"error": text})
        print(answer, flush=True)


if __name__ == "__main__":
    _main()
