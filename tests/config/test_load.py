"""A user's configuration: what is accepted, and the one line that refuses the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from batchtui.config.load import dump_config, load_config
from batchtui.config.schema import Config, from_dict, to_dict
from batchtui.errors import ConfigError


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "c.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(
    path: Path, *overrides: tuple[str, str], environment: dict[str, str] | None = None
) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides, environment or {})
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    return message


def complaint(path: Path) -> str:
    """Return what is wrong with a file, or nothing; any other exception is a defect."""
    try:
        load_config(path, environment={})
    except ConfigError as error:
        return str(error)
    return ""


def test_defaults_fill_what_is_not_given(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "name: mine\n"), environment={})
    assert config.name == "mine"
    assert config.dataloaders.batch_size == 64
    assert config.data.name == "digits"


def test_exponents_are_numbers_and_off_is_a_word(tmp_path: Path) -> None:
    text = "optimizer: {target: torch.optim.SGD, args: {lr: 1e-3}}\ntraining: {amp: off}\n"
    config = load_config(write(tmp_path, text), environment={})
    assert config.optimizer.args == {"lr": 0.001}
    assert config.training.amp == "off"


def test_command_line_beats_environment_beats_file(tmp_path: Path) -> None:
    path = write(tmp_path, "dataloaders: {batch_size: 8}\n")
    environment = {"BATCHTUI_DATALOADERS__BATCH_SIZE": "16", "BATCHTUI_RUNS": "elsewhere"}
    assert load_config(path, environment={}).dataloaders.batch_size == 8
    assert load_config(path, environment=environment).dataloaders.batch_size == 16
    override = ("--batch-size", "dataloaders.batch_size=32")
    assert load_config(path, [override], environment).dataloaders.batch_size == 32


def test_a_target_with_arguments_may_be_set_from_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x\n")
    overrides = [
        ("--set", "scheduler.target=torch.optim.lr_scheduler.StepLR"),
        ("--set", "scheduler.args.gamma=0.5"),
    ]
    config = load_config(path, overrides, {})
    assert config.scheduler is not None
    assert config.scheduler.args == {"gamma": 0.5}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("- a\n- b\n", "c.yaml:1: expected `key: value` lines"),
        (
            "name: x\ndataloader: {}\n",
            "c.yaml:2: unknown key 'dataloader'; did you mean 'dataloaders'?",
        ),
        (
            "dataloaders:\n  batchsize: 3\n",
            "c.yaml:2: unknown key 'dataloaders.batchsize'; did you mean 'batch_size'?",
        ),
        ("name: x\nname: y\n", "c.yaml:2: name stands here again; first on line 1"),
        ("dataloaders:\n\tbatch_size: 3\n", "c.yaml:2: a tab"),
        ("a: [1, 2\nb: }\n", "c.yaml:2: no valid YAML"),
        ("dataloaders: {batch_size: 0}\n", "c.yaml:1: dataloaders.batch_size: 0 is not"),
        ("dataloaders: {batch_size: -4}\n", "-4 is not a whole number of samples"),
        (
            "dataloaders:\n  batch_size: 3.5\n",
            "c.yaml:2: dataloaders.batch_size: 3.5 is not a whole number",
        ),
        ("dataloaders: {batch_size: 1000000000}\n", "1000000000 is not a whole number of samples"),
        ("dataloaders: {batch_size: many}\n", "'many' is not a whole number"),
        ("dataloaders: 7\n", "dataloaders: 7 is not a section; it has the keys batch_size"),
        ("training: {amp: fp8}\n", "'fp8' is not off or bf16 or fp16"),
        ("training: {compile: yes}\n", "'yes' is not true or false"),
        ("model: {target: resnet18}\n", "importable"),
        ("model: {target: 'os; rm'}\n", "importable"),
        ("optimizer: {args: {lr: 1}}\nscheduler: {args: {}}\n", "scheduler.target is missing"),
        ("data: {name: digits, target: a.b}\n", "both name and target"),
        ("data: {image_size: 32}\n", "neither name nor target"),
        ("data: {name: imagenet}\n", "digits or fake or cifar10 or imagefolder"),
        ("device: gpu\n", "'gpu' is not auto, cpu, cuda"),
        ("limits: {memory: 1.5}\n", "a fraction"),
        ("limits: {memory: 20 gigs}\n", "20GiB"),
        ("launch: {python: /no/such/python}\n", "an interpreter"),
        ("name: 'a/../b'\n", "a name of letters"),
        ("name: &a [*a]\n", "is not text"),
        (b"\xff\xfe\x00junk", "is not UTF-8 text"),
        (b"a: \x00\x01\x02", "no valid YAML"),
        ("!!python/object/apply:os.system ['true']", "expected `key: value` lines"),
        ("data: {name: digits, args: !!python/object/apply:os.system ['true']}", "no valid YAML"),
    ],
)
def test_bad_files_get_one_line(tmp_path: Path, text: str | bytes, expected: str) -> None:
    assert expected in refusal(write(tmp_path, text))


def test_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "name: x\n").rename(tmp_path / "default.yaml")
    assert "no such file; did you mean 'default.yaml'?" in refusal(tmp_path / "defalt.yaml")
    assert "no such file" in refusal(tmp_path / "no" / "x.yaml")


def test_directory_and_giant_are_refused(tmp_path: Path) -> None:
    assert "is a directory" in refusal(tmp_path)
    assert "larger than 1 MiB" in refusal(write(tmp_path, "#" * (1 << 21)))


def test_overrides_name_themselves_as_the_place(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x\n")
    assert refusal(path, ("--batch-size", "dataloaders.batch_size=x")).startswith("--batch-size: ")
    assert "did you mean 'epochs'" in refusal(path, ("--set", "training.epoch=3"))
    assert "no key.path=value" in refusal(path, ("--set", "training"))
    assert "is a section" in refusal(path, ("--set", "training=3"))
    assert "is a value and has no keys" in refusal(path, ("--set", "name.x=3"))
    assert refusal(path, environment={"BATCHTUI_DEVICE": "gpu"}).startswith("environment BATCHTUI_")


@pytest.mark.parametrize("path", sorted(Path("configs").glob("*.yaml")), ids=lambda p: p.name)
def test_shipped_configurations_load(path: Path) -> None:
    config = load_config(path, environment={})
    # What the worker reads back from JSON, and a person from config.yaml, is the same.
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    again = yaml.safe_load(dump_config(config))
    assert from_dict(again) == config


def test_default_yaml_documents_every_key() -> None:
    text = Path("configs/default.yaml").read_text()

    def keys(values: dict[str, object]) -> list[str]:
        found = []
        for key, value in values.items():
            found.append(key)
            if isinstance(value, dict) and key not in ("args", "env"):
                found += keys(value)
        return found

    scheduler = ["target", "args", "unit"]
    missing = [key for key in [*keys(to_dict(Config())), *scheduler] if f"{key}:" not in text]
    assert not missing


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = write(tmp_path_factory.mktemp("junk"), raw)
    assert complaint(path).isprintable()


_yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3)
    ),
    max_leaves=8,
)
_sections = st.sampled_from([*to_dict(Config()), "nonsense"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(_sections, _yaml_values, max_size=4))
def test_no_values_crash_the_checks(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]
) -> None:
    path = write(tmp_path_factory.mktemp("junk"), yaml.safe_dump(values, allow_unicode=True))
    assert complaint(path).isprintable()
