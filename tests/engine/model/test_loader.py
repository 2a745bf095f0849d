"""A folder that cannot be used is refused with what happened, where, and how to mend it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sqlinfer.engine import close_all, get_engine, open_engine
from sqlinfer.engine.model.device import pick_device
from sqlinfer.engine.model.precision import pick_precision
from sqlinfer.errors import ModelUnusable, SqlinferError
from sqlinfer.types import Embed, ModelVersion, Request
from tests.engine.engine_cases import EngineOf, answer, requests
from tools import random_models as shapes

VersionOf = Callable[..., ModelVersion]


@pytest.fixture
def copy(tmp_path: Path, folder_of: Callable[[str], Path]) -> Path:
    """A copy of a good model's folder, to break."""
    return Path(shutil.copytree(folder_of("llama"), tmp_path / "copy"))


def version(folder: Path, **more: object) -> ModelVersion:
    return ModelVersion("mine", 2, "org/mine", folder, str(folder), **{"dtype": "float32", **more})


def refused(folder: Path, **more: object) -> str:
    with pytest.raises(ModelUnusable) as caught:
        list(open_engine(version(folder, **more), device="cpu").generate([Request("x")]))
    message = str(caught.value)
    assert message.startswith(f"Model mine/2 in {folder} cannot be used: ")
    assert message.endswith(".")
    return message


def test_missing_folder(tmp_path: Path) -> None:
    assert "folder is missing" in refused(tmp_path / "nowhere")


def test_missing_config(copy: Path) -> None:
    (copy / "config.json").unlink()
    assert "config.json is missing" in refused(copy)


def test_config_that_is_not_json(copy: Path) -> None:
    (copy / "config.json").write_text("{")
    assert "config.json is not JSON" in refused(copy)


def test_unknown_architecture(copy: Path) -> None:
    (copy / "config.json").write_text('{"model_type": "brandnew", "architectures": ["BrandNewForCausalLM"]}')
    message = refused(copy)
    assert "'brandnew'" in message
    assert "pip install -U transformers" in message


def test_code_in_the_folder_is_not_run(copy: Path) -> None:
    (copy / "evil.py").write_text("raise SystemExit('ran')")
    config = {"model_type": "brandnew", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (copy / "config.json").write_text(json.dumps(config))
    assert "'brandnew'" in refused(copy, trusted=True)


def test_no_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert "no weights" in refused(copy)


def test_truncated_weights(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "model.safetensors is truncated or corrupt" in refused(copy)


def test_corrupt_weights(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"\xff" * 5000)
    assert "model.safetensors is truncated or corrupt" in refused(copy)


def test_missing_shards(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert "1 of 2 weight files are missing, among them model-00002-of-00002.safetensors" in refused(copy)


def test_broken_index(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors.index.json").write_text("[]")
    assert "model.safetensors.index.json cannot be read" in refused(copy)


def test_weights_that_lack_tensors(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    assert "lack 1 tensors" in refused(copy)


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_a_tensor_of_another_shape_is_named_with_both(copy: Path) -> None:
    edit_config(copy, vocab_size=520)
    message = refused(copy)
    assert "lm_head.weight has the shape (512, 64) in its file, and (520, 64) by config.json" in message
    assert "\n" not in message


@pytest.mark.parametrize(("shape", "name"), [("llama", "num_hidden_layers"), ("gpt2", "n_layer"), ("t5", "num_layers")])
def test_weights_of_more_layers_than_the_configuration_has_are_refused(
    shape: str, name: str, tmp_path: Path, folder_of: Callable[[str], Path]
) -> None:
    folder = Path(shutil.copytree(folder_of(shape), tmp_path / shape))
    edit_config(folder, **{name: 1})
    assert "config.json has no place for " in refused(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 1_000_000},
        {"intermediate_size": 10**8},
        {"num_hidden_layers": 10**9},
        {"vocab_size": 10**9},
        {"hidden_size": 2**40},
        {"hidden_size": 0},
        {"hidden_size": "many"},
        {"num_attention_heads": 7},
    ],
    ids=str,
)
def test_sizes_that_the_files_do_not_hold_are_refused_before_memory_is_taken(
    copy: Path, changes: dict[str, object]
) -> None:
    edit_config(copy, **changes)
    assert "\n" not in refused(copy)


def test_weights_that_exceed_the_free_memory_are_refused_before_they_are_read(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlinfer.engine.model import weights

    monkeypatch.setattr(weights, "free_memory", lambda _: 1000)
    assert "do not fit the memory of cpu" in refused(copy)


def test_weights_that_do_not_fit(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    assert "do not fit the memory of cpu" in refused(copy)


def test_pickled_weights_need_trust(copy: Path, engine_of: EngineOf) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    assert "sqlinfer models register mine org/mine --trust" in refused(copy)
    trusted = open_engine(version(copy, trusted=True), device="cpu")
    asked = requests(max_tokens=3)
    assert answer(trusted, asked) == answer(engine_of("llama"), asked)


def test_no_tokenizer(copy: Path) -> None:
    for file in copy.glob("tokenizer*"):
        file.unlink()
    assert "its tokenizer cannot be loaded" in refused(copy)


def test_broken_tokenizer(copy: Path) -> None:
    (copy / "tokenizer.json").write_text('{"model": 3}')
    assert "its tokenizer cannot be loaded" in refused(copy)


def test_broken_generation_config(copy: Path) -> None:
    (copy / "generation_config.json").write_text("{")
    assert "generation_config.json" in refused(copy)


def test_older_models_keep_their_defaults_in_the_configuration(
    tmp_path: Path, folder_of: Callable[[str], Path], engine_of: EngineOf
) -> None:
    folder = Path(shutil.copytree(folder_of("bart"), tmp_path / "old"))
    generation = json.loads((folder / "generation_config.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    (folder / "generation_config.json").unlink()
    (folder / "config.json").write_text(json.dumps({**config, **generation}))
    engine = open_engine(version(folder), device="cpu")
    assert engine.runner.defaults("generate") == engine_of("bart").runner.defaults("generate")
    asked = requests()
    assert answer(engine, asked) == answer(engine_of("bart"), asked)


def test_loading_prints_nothing(folder_of: Callable[[str], Path]) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom sqlinfer.engine import open_engine\n"
        "from sqlinfer.types import *\np = Path(sys.argv[1])\n"
        "engine = open_engine(ModelVersion('m', 1, 's', p, 'f'), device='cpu')\n"
        "ask = Request('word ' * 900, overflow='truncate', parameters=Parameters(max_tokens=2))\n"
        "assert next(engine.generate([ask])).error is None"
    )
    command = [sys.executable, "-c", code, str(folder_of("t5"))]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_engine_is_one_a_version(version_of: VersionOf) -> None:
    close_all()
    first = get_engine(version_of("llama"))
    assert get_engine(version_of("llama")) is first
    assert get_engine(version_of("llama", dtype="bfloat16")) is not first
    close_all()
    assert get_engine(version_of("llama")) is not first
    close_all()


def test_closed_engine_loads_again(version_of: VersionOf) -> None:
    engine = open_engine(version_of("gpt2"), device="cpu")
    before = answer(engine, requests(max_tokens=2))
    engine.close()
    assert not engine.loaded.is_loaded
    assert answer(engine, requests(max_tokens=2)) == before


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(SqlinferError, match="SQLINFER_DEVICE"):
        pick_device("warp:9")


def test_bfloat16_answers(version_of: VersionOf) -> None:
    for shape in ("llama", "bart"):
        engine = open_engine(version_of(shape), dtype="bfloat16", device="cpu")
        assert [c.error for c in answer(engine, requests(max_tokens=4))] == [None] * 8
        precision = pick_precision("bfloat16", torch.device("cpu"), engine.loaded.config)
        assert (engine.loaded.model.dtype is torch.bfloat16) == (precision.name == "bfloat16") == (not precision.notice)


def test_equal_calls_build_equal_files(tmp_path: Path, folder_of: Callable[[str], Path]) -> None:
    for shape in ("llama", "bart"):
        again = shapes.build(shape, tmp_path / shape)
        assert {f.name: f.read_bytes() for f in again.iterdir()} == {
            f.name: f.read_bytes() for f in folder_of(shape).iterdir()
        }
    other = shapes.build("llama", tmp_path / "other", seed=1)
    assert (other / "model.safetensors").read_bytes() != (tmp_path / "llama" / "model.safetensors").read_bytes()


def test_size_is_as_asked(tmp_path: Path) -> None:
    size = shapes.Size(hidden=32, num_layers=1, num_heads=2, num_key_value_heads=1, vocabulary=300, positions=64)
    for shape in shapes.BUILDERS:
        engine = open_engine(version(shapes.build(shape, tmp_path / shape, size=size)), device="cpu")
        assert engine.loaded.prompts.context.max_tokens == 64
        assert engine.loaded.model.get_input_embeddings().weight.shape == (300, 32)
        request = Embed("a") if shape == "bert" else requests(["a"], max_tokens=2)[0]
        assert next(engine.generate([request])).error is None


def test_unknown_shape_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SqlinferError, match="llama"):
        shapes.build("lama", tmp_path)
