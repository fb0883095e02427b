"""`batchtui restart` as a user types it, on real trainings."""

from __future__ import annotations

import json

from tests.e2e.conftest import Workplace


def restart(workplace: Workplace, *words: str) -> str:
    """Restart and return the name of the run that goes on."""
    answer = workplace.run("restart", *words, "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)["run"]


def test_an_alive_run_and_an_ended_one_go_on_at_other_sizes(workplace: Workplace) -> None:
    first = workplace.start()
    workplace.wait(first, "steps >= 20")
    answer = workplace.run("restart", first, "--batch-size", "32", "--force")
    assert (answer.returncode, answer.stdout) == (0, "tiny-002\n")
    assert "learning rate 0.0500 → 0.100 (linear)" in answer.stderr
    assert "samples a step 16 → 32" in answer.stderr
    one = workplace.look(first)
    assert one["status"] == "stopped"
    assert one["cause"] == "restarting as tiny-002, batch size 16 → 32"
    two = workplace.wait("tiny-002", f"steps >= {one['steps']} + 10")
    assert (two["parent"], two["batch_size"], two["global_batch_size"]) == (first, 32, 32)
    assert two["samples"] > one["samples"] + 9 * 32 - 32
    assert two["config"]["optimizer"]["args"]["lr"] == 0.1
    assert "batch size 16 → 32, after tiny-001" in workplace.run("show", "tiny-002").stdout
    assert "goes on as  tiny-002" in workplace.run("show", first).stdout

    # Both are one training: the old one cannot go on beside the new one.
    refused = workplace.run("restart", first, "--batch-size", "8", "--force")
    assert refused.returncode == 2
    assert "tiny-002 trains this configuration already" in refused.stderr
    assert workplace.run("stop", "last").returncode == 0
    end = workplace.look("tiny-002")
    options = ("--batch-size", "12", "--keep-global-batch", "--lr-rule", "keep", "--force")
    third = restart(workplace, "last", *options)
    three = workplace.wait(third, f"steps >= {end['steps']} + 3")
    assert (three["batch_size"], three["accumulate"], three["global_batch_size"]) == (12, 3, 36)
    assert three["config"]["optimizer"]["args"]["lr"] == 0.1
    assert workplace.run("stop", third).returncode == 0
    assert workplace.left() == []


def test_a_size_that_will_not_fit_is_refused_before_anything_stops(workplace: Workplace) -> None:
    config = workplace.config.read_text().replace("tiny:data", "tiny:many")
    workplace.config.write_text(config.replace("tiny.Net", "tiny.wide"))
    name = workplace.start()
    answer = workplace.run("restart", name, "--batch-size", "10000000")
    assert answer.returncode == 4, answer.stderr
    assert "will not fit; the largest safe size is" in answer.stderr
    assert "--force tries it all the same" in answer.stderr
    assert workplace.look(name)["status"] == "running"
    assert [path.name for path in workplace.root.iterdir() if path.is_dir()] == [name]
    workplace.run("stop", name, "--now")


def test_a_size_that_runs_out_of_memory_is_gone_back_from(workplace: Workplace) -> None:
    name = workplace.start("--set", "model.target=tiny.Hungry")
    workplace.wait(name, "steps >= 5")
    answer = workplace.run("restart", name, "--batch-size", "64", "--force", "--json")
    assert answer.returncode == 3
    assert json.loads(answer.stdout) == {"run": "tiny-003"}
    assert "tiny-002 out of memory: host out of memory" in answer.stderr
    assert "back to batch size 16: 64 ran out of memory; tiny-003 goes on" in answer.stderr
    steps = workplace.look(name)["steps"]
    back = workplace.wait("tiny-003", f"steps >= {steps} + 5")
    assert (back["batch_size"], back["config"]["optimizer"]["args"]["lr"]) == (16, 0.05)
    assert "back to batch size 16: 64 ran out of memory" in workplace.run("show", "last").stdout
    forecast = workplace.run("restart", "last", "--batch-size", "100")
    assert forecast.returncode == 4, forecast.stderr
    assert "64 ran out of memory here before" in forecast.stderr
    assert workplace.run("stop", "last").returncode == 0
    assert workplace.left() == []
