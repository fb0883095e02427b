"""Traces of training steps on fake tensors, against real ones and against themselves."""

from __future__ import annotations

import warnings
from functools import partial

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402

from batchtui.forecast.events import CATEGORIES, PHASES, Trace, peak_by_category  # noqa: E402
from batchtui.forecast.ladder import fake_cuda_failure  # noqa: E402
from batchtui.forecast.recorder import CUBLAS_WORKSPACE  # noqa: E402
from batchtui.forecast.rehearsal import Plan, Task, bucket_sizes  # noqa: E402
from batchtui.forecast.trace import TraceError, trace_model  # noqa: E402

SIZE = 16


class Small(nn.Module):
    """Convolution, normalisation and dropout: what differs most between devices."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, stride=2),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 10),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.body(pictures)


def momentum(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def task(model=Small, optimizer=momentum, **changes) -> Task:
    parts = {
        "model": model,
        "batch": lambda size: (
            torch.empty(size, 3, SIZE, SIZE),
            torch.zeros(size, dtype=torch.int64),
        ),
        "forward": lambda module, batch: module(batch[0]),
        "loss": lambda output, batch: nn.functional.cross_entropy(output, batch[1]),
        "optimizer": optimizer,
    }
    return Task(**{**parts, **changes})


def peak(trace: Trace, batch_size: int) -> int:
    return peak_by_category(trace.at(batch_size))[0]


def test_this_torch_can_fake_cuda():
    assert fake_cuda_failure() is None


def test_a_trace_for_cuda_needs_no_gpu_and_keeps_cudas_operators():
    trace = trace_model(task(), Plan(), device="cuda")
    assert trace.method == "fake cuda"
    held = peak_by_category(trace.at(16))[1]
    parameters = sum(4 * p.numel() for p in Small().parameters())
    assert held["parameters"] == parameters
    assert held["optimizer"] == parameters
    assert held["inputs"] == 16 * (3 * SIZE * SIZE * 4 + 8)
    workspaces = [e for e in trace.events if CATEGORIES[e[4]] == "workspace"]
    assert [e[2] for e in workspaces] == [CUBLAS_WORKSPACE] * 2
    assert [PHASES[e[5]] for e in workspaces] == ["forward", "backward"]


@pytest.mark.parametrize("plan", [Plan(), Plan(amp="fp16", accumulate=2, clip_grad_norm=1.0)])
def test_scaling_from_two_sizes_is_tracing_directly(plan):
    scaled = trace_model(task(), plan, batch_sizes=(4, 8))
    direct = trace_model(task(), plan, batch_sizes=(50, 50))
    assert [e[2] for e in scaled.at(50)] == [e[2] for e in direct.at(50)]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_tensors_on_the_cpu_are_what_the_profiler_sees(optimizer):
    make = getattr(torch.optim, optimizer)
    trace = trace_model(task(optimizer=lambda p: make(p, lr=0.1)), Plan(), device="cpu")
    for size in (16, 40):
        assert peak(trace, size) == pytest.approx(_profiled(make, size), rel=0.01)


def _profiled(make, size: int) -> int:
    """Measure the most bytes allocated in two real steps."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        model = Small()
        optimizer = make(model.parameters(), lr=0.1)
        pictures = targets = None
        for _ in range(2):
            pictures = targets = None
            pictures = torch.zeros(size, 3, SIZE, SIZE)
            targets = torch.zeros(size, dtype=torch.int64)
            optimizer.zero_grad()
            output = model(pictures)
            loss = nn.functional.cross_entropy(output, targets)
            loss.backward()
            optimizer.step()
    events = profiler.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def test_foreach_is_cudas_default_and_copies_all_weights():
    def deep():
        return nn.Sequential(*(nn.Linear(1024, 1024) for _ in range(4)))

    held = {}
    for foreach in (None, False):
        adam = lambda p, choice=foreach: torch.optim.Adam(p, foreach=choice)  # noqa: E731
        held[foreach] = peak(trace_model(task(deep, adam, batch=wide_batch), Plan()), 2)
    assert held[None] > held[False] + (1 << 20)


class Wide(nn.Sequential):
    """Two large weights."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(1024, 1024), nn.Linear(1024, 1024))


def wide_batch(size):
    return torch.empty(size, 1024), torch.zeros(size, dtype=torch.int64)


def test_tied_weights_are_one_allocation():
    class Tied(Wide):
        def __init__(self) -> None:
            super().__init__()
            self[1].weight = self[0].weight

    held = peak_by_category(trace_model(task(Tied, batch=wide_batch), Plan()).at(2))[1]
    assert held["parameters"] == 4 * (1024 * 1024 + 2 * 1024)


def test_an_answer_that_was_assumed_is_told():
    class Masks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1024, 10)

        def forward(self, values):
            scale = values.mean().item()
            kept = values[values[:, 0] > 0]
            return self.layer(kept) * scale

    trace = trace_model(task(Masks, batch=wide_batch), Plan())
    assert "a boolean mask selects every element" in trace.assumptions
    assert any(".item()" in note for note in trace.assumptions)


def test_what_fake_cuda_cannot_do_is_traced_on_the_cpu_and_says_so():
    class Stubborn(Small):
        def forward(self, pictures):
            if pictures.is_cuda:
                raise RuntimeError("no such device")
            return super().forward(pictures)

    trace = trace_model(task(Stubborn), Plan())
    assert trace.method == "fake cpu"
    assert trace.device == "cuda"
    assert any("no such device" in note for note in trace.assumptions)
    assert any("CPU tensors" in note for note in trace.assumptions)


def test_a_model_that_cannot_be_traced_says_why_in_one_line():
    class Broken(Small):
        def forward(self, pictures):
            raise ValueError("wants sound\nnot pictures")

    with pytest.raises(TraceError) as caught:
        trace_model(task(Broken), Plan())
    assert str(caught.value) == "the model cannot be traced: ValueError: wants sound"


def test_a_constructor_that_fails_says_why():
    def build():
        raise OSError("weights.pt is missing")

    with pytest.raises(TraceError, match=r"the model cannot be built: OSError: weights.pt"):
        trace_model(task(build), Plan())


def test_a_trace_that_takes_too_long_is_given_up():
    with pytest.raises(TraceError, match="takes longer than 0 s"):
        trace_model(task(), Plan(), time_limit=0.0)


def test_what_a_model_keeps_from_its_first_step_stays():
    class Tables(Small):
        """Moves a table to the device when it first needs it, as rotary embeddings do."""

        def __init__(self):
            super().__init__()
            self.table = None

        def forward(self, pictures):
            if self.table is None:
                self.table = torch.zeros(1 << 20, device=pictures.device)
            return super().forward(pictures) + self.table[0]

    trace = trace_model(task(Tables), Plan())
    assert trace.scales
    lives = [e for e in trace.events if e[2] == e[3] == 4 << 20]
    assert [e[0] for e in lives] == [1]  # allocated once, and never freed
    assert peak(trace, 64) >= peak(trace_model(task(), Plan()), 64) + (4 << 20)


def mixing(size):
    return torch.empty(size, 9, 64), torch.zeros(size, dtype=torch.int64)


class Mixing(nn.Module):
    """Attention between samples: batch_first was forgotten."""

    def __init__(self):
        super().__init__()
        self.mixes = nn.TransformerEncoderLayer(64, 4, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, words):
        return self.head(self.mixes(words).mean(1))


def contrastive(output, batch):
    return (output @ output.T).softmax(1).mean()


def distances(output, batch):
    return torch.pdist(output).mean()


@pytest.mark.parametrize(
    ("squared", "device"),
    [
        (task(loss=contrastive), "cuda"),
        (task(Wide, loss=distances, batch=wide_batch), "cpu"),
        (task(Mixing, batch=mixing), "cuda"),
    ],
)
def test_what_grows_with_the_square_of_the_batch_follows_too(squared, device):
    trace = trace_model(squared, Plan(), device=device)
    assert trace.scales
    assert trace.squares
    trace = Trace.from_json(trace.to_json())
    wanted = 150
    direct = trace_model(squared, Plan(), device=device, batch_sizes=(wanted, wanted))
    assert [e[:1] + e[2:3] for e in trace.at(wanted) if CATEGORIES[e[3]] != "workspace"] == [
        e[:1] + e[2:3] for e in direct.at(wanted) if CATEGORIES[e[3]] != "workspace"
    ]


def test_what_grows_faster_still_is_traced_at_the_wanted_size_only():
    def triples(output, batch):
        pairs = output @ output.T
        return (pairs[:, :, None] * pairs[None]).mean()

    trace = trace_model(task(loss=triples), Plan())
    assert trace.batch_sizes == (32, 32)
    assert any("grows faster than the batch" in note for note in trace.assumptions)
    alone = trace_model(task(loss=triples), Plan(), batch_sizes=(16, 16))
    assert any("traced at this one alone" in note for note in alone.assumptions)


def test_evaluation_comes_last():
    trace = trace_model(task(), Plan(evaluation=True))
    phases = [PHASES[event[5]] for event in trace.events]
    assert phases.index("evaluation") > phases.index("optimizer")
    assert set(phases[phases.index("evaluation") :]) == {"evaluation"}


def test_half_precision_copies_the_weights():
    def copies(amp):
        trace = trace_model(task(Wide, batch=wide_batch), Plan(amp=amp))
        return sum(e[2] == 2 * 1024 * 1024 and PHASES[e[5]] == "forward" for e in trace.events)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # autocast turns itself off with no more than that
        assert copies("bf16") >= 4
    assert copies("off") == 0


def test_where_gradients_are_cleared_matters():
    def held(position):
        return peak(trace_model(task(Wide, batch=wide_batch), Plan(zero_grad=position)), 512)

    assert held("backward") > held("end")


def test_buckets_hold_every_gradient_once():
    parameters = [nn.Parameter(torch.empty(n, device="meta")) for n in (9_000_000, 300_000, 1)]
    assert bucket_sizes(parameters) == [4 * 300_001, 4 * 9_000_000]


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_recomputed_activations_are_not_held(device):
    from torch.utils.checkpoint import checkpoint

    class Stem(Small):
        reentrant: bool | None = None

        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 3, 1)

        def forward(self, pictures):
            pictures = self.stem(pictures)
            if self.reentrant is None:
                return self.body(pictures)
            return checkpoint(self.body, pictures, use_reentrant=self.reentrant)

    class Recomputed(Stem):
        reentrant = False

    class Reentrant(Stem):
        reentrant = True

    plain, recomputed, reentrant = (
        trace_model(task(model), Plan(), device=device) for model in (Stem, Recomputed, Reentrant)
    )
    assert {trace.method for trace in (plain, recomputed, reentrant)} == {f"fake {device}"}
    assert peak(recomputed, 256) < peak(plain, 256) * 1.02
    assert peak(reentrant, 256) < peak(plain, 256) * 1.02


def test_code_that_says_cuda_outright_needs_no_driver_either():
    class Outright(Small):
        def __init__(self):
            super().__init__()
            self.body.cuda()
            self.register_buffer("shift", torch.zeros(1, device="cuda"))

        def forward(self, pictures):
            torch.cuda.synchronize()
            shifted = pictures.to("cuda").cuda() + torch.ones(1, device="cuda") + self.shift
            return super().forward(shifted)

    trace = trace_model(task(Outright), Plan(), device="cuda")
    assert trace.method == "fake cuda", trace.assumptions
    assert peak(trace, 64) > peak(trace_model(task(), Plan(), device="cuda"), 64)
    with pytest.raises(TraceError, match="no NVIDIA driver"):  # nor would it train there
        trace_model(task(Outright), Plan(), device="cpu")


def test_sparse_gradients_and_unique_values():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.EmbeddingBag(9000, 64, mode="sum", sparse=True)
            self.head = nn.Linear(64, 10)

        def forward(self, numbers):
            assert numbers.unique().numel()
            return self.head(self.words(numbers))

    def sentences(size):
        return torch.zeros(size, 20, dtype=torch.int64), torch.zeros(size, dtype=torch.int64)

    plain = partial(torch.optim.SGD, lr=0.1)
    trace = trace_model(task(Bag, plain, batch=sentences), Plan())
    assert trace.method == "fake cuda", trace.assumptions
    assert "unique() finds every element" in trace.assumptions
    assert peak(trace, 8) < 2 * 9000 * 64 * 4 + 2 * CUBLAS_WORKSPACE  # no dense gradient


def test_a_leaf_made_in_the_step_can_be_differentiated():
    def penalty(module, batch):
        pictures = batch[0].detach().requires_grad_()
        output = module(pictures)
        [slope] = torch.autograd.grad(output.sum(), pictures, create_graph=True)
        return output + slope.square().mean()

    trace = trace_model(task(forward=penalty), Plan())
    assert trace.method == "fake cuda", trace.assumptions
