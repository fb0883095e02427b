"""What a batch size needs, forecast and measured in the same terms."""

from __future__ import annotations

import dataclasses

import pytest

from batchtui.config.schema import Config, DataLoaders, Launch, Limits
from batchtui.forecast.events import peak_by_category
from batchtui.forecast.largest import MALLOC, Search, Seen
from batchtui.forecast.need import Needs
from batchtui.forecast.rows import TORCHRUN
from tests.forecast.test_forecast import make_trace

GIB = 1 << 30
BARE = Config(dataloaders=DataLoaders(num_workers=0))


def needs(config: Config, device: str) -> Needs:
    found = Needs.of(config, [make_trace(device=device)], device, None, GIB // 4)
    assert found is not None
    return found


def test_on_an_accelerator_a_trial_is_judged_by_its_tensors() -> None:
    card = needs(BARE, "cuda")
    tensors, _ = peak_by_category(make_trace().at(64))
    need = card.need(64)
    assert need.peak >= tensors  # what fragments is needed, too
    assert need.high > need.peak
    # Near the limit the allocator reserves what there is, which says nothing.
    assert card.observed(64, 40 * GIB, tensors) == need.peak
    assert card.observed(64, 40 * GIB, tensors + 1000) == need.peak + 1000
    assert card.observed(64, 40 * GIB, None) == 40 * GIB


def test_a_search_on_a_simulated_card() -> None:
    card = needs(BARE, "cuda")
    trace = make_trace()

    def takes(size: int) -> int:  # a workspace more than was traced
        return peak_by_category(trace.at(size))[0] + GIB // 8

    search = Search(8 * GIB, forecast=card.need, noise=card.noise, growth=card.growth)
    seen: list[Seen] = []
    while (size := search.next(seen)) is not None and len(seen) < 2:
        peak = card.observed(size, 8 * GIB, takes(size))
        assert peak is not None
        assert peak <= 8 * GIB
        seen.append(Seen(size, peak))
    answer = search.answer(seen)
    assert answer is not None
    assert 0.9 * 8 * GIB < takes(answer.batch_size) <= 8 * GIB


def test_on_a_cpu_every_process_counts() -> None:
    one = needs(BARE, "cpu")
    two = needs(dataclasses.replace(BARE, launch=Launch(processes=2)), "cpu")
    assert two.need(64).peak == 2 * one.need(64).peak + TORCHRUN
    loaders = needs(Config(dataloaders=DataLoaders(num_workers=2)), "cpu")
    grown = loaders.need(64).peak - one.need(64).peak
    batch = 64 * 150_528 * 4
    assert grown > 2 * (2 * 2 + 1) * batch  # training's and evaluation's, fetched ahead
    assert one.observed(64, 3 * GIB, None) == 3 * GIB


@pytest.mark.parametrize("low_memory", [False, True])
def test_malloc_is_given_room_unless_it_gives_memory_back(low_memory: bool) -> None:
    config = dataclasses.replace(BARE, limits=Limits(low_memory=low_memory))
    found = needs(config, "cpu")
    assert found.growth == (1.0 if low_memory else MALLOC)
    assert found.noise == (0.01 if low_memory else 0.07)
    loaders = needs(dataclasses.replace(config, dataloaders=DataLoaders(num_workers=2)), "cpu")
    assert loaders.noise == (0.06 if low_memory else 0.07)


def test_a_trace_of_one_size_does_not_tell() -> None:
    single = dataclasses.replace(make_trace(), batch_sizes=(8, 8))
    assert Needs.of(BARE, [single], "cuda", None, None) is None
