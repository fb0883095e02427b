"""The few values that make a language model's configuration, by its name on the hub."""

from __future__ import annotations

import re
from typing import Any


def _gpt2(**values: Any) -> dict[str, Any]:
    return {"type": "gpt2", **values}


def _opt(hidden: int, layers: int, heads: int, **values: Any) -> dict[str, Any]:
    return {
        "type": "opt",
        "hidden_size": hidden,
        "ffn_dim": 4 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "word_embed_proj_dim": hidden,
        **values,
    }


def _neo(hidden: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "type": "gpt_neo",
        "hidden_size": hidden,
        "num_layers": layers,
        "num_heads": heads,
        "attention_types": [[["global", "local"], layers // 2]],
    }


def _pythia(hidden: int, layers: int, heads: int, vocabulary: int = 50_304) -> dict[str, Any]:
    return {
        "type": "gpt_neox",
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "vocab_size": vocabulary,
        "rotary_pct": 0.25,
        "max_position_embeddings": 2048,
    }


def _t5(width: int, inner: int, layers: int, heads: int, **values: Any) -> dict[str, Any]:
    return {
        "type": "t5",
        "d_model": width,
        "d_ff": inner,
        "num_layers": layers,
        "num_heads": heads,
        "d_kv": 64,
        "vocab_size": 32_128,
        "decoder_start_token_id": 0,
        **values,
    }


def _llama_like(
    kind: str,
    vocabulary: int,
    hidden: int,
    inner: int,
    layers: int,
    heads: int,
    key_heads: int,
    **values: Any,
) -> dict[str, Any]:
    return {
        "type": kind,
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        **values,
    }


def _bart(width: int, layers: int, heads: int) -> dict[str, Any]:
    stack = {"layers": layers, "attention_heads": heads, "ffn_dim": 4 * width}
    return {
        "type": "bart",
        "vocab_size": 50_265,
        "d_model": width,
        **{f"{part}_{key}": stack[key] for part in ("encoder", "decoder") for key in stack},
        "attention_dropout": 0.1,
        "activation_dropout": 0.1,
    }


def _bloom(hidden: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "type": "bloom",
        "vocab_size": 250_880,
        "hidden_size": hidden,
        "n_layer": layers,
        "n_head": heads,
    }


def _codegen(hidden: int, layers: int, heads: int, rotary: int) -> dict[str, Any]:
    return {
        "type": "codegen",
        "vocab_size": 51_200,
        "n_embd": hidden,
        "n_layer": layers,
        "n_head": heads,
        "rotary_dim": rotary,
    }


_GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
_QWEN3 = {"head_dim": 128, "tie_word_embeddings": True}
_TIED = {"tie_word_embeddings": True}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "gpt2": _gpt2(),
    "gpt2-medium": _gpt2(n_embd=1024, n_layer=24, n_head=16),
    "gpt2-large": _gpt2(n_embd=1280, n_layer=36, n_head=20),
    "gpt2-xl": _gpt2(n_embd=1600, n_layer=48, n_head=25),
    "distilgpt2": _gpt2(n_layer=6),
    "cerebras-gpt-111m": _gpt2(
        n_embd=768, n_layer=10, n_head=12, n_inner=3072, n_positions=2048,
        activation_function="gelu",
    ),
    "cerebras-gpt-256m": _gpt2(
        n_embd=1088, n_layer=14, n_head=17, n_inner=4352, n_positions=2048,
        activation_function="gelu",
    ),
    "cerebras-gpt-590m": _gpt2(
        n_embd=1536, n_layer=18, n_head=12, n_inner=6144, n_positions=2048,
        activation_function="gelu",
    ),
    "cerebras-gpt-1.3b": _gpt2(
        n_embd=2048, n_layer=24, n_head=16, n_inner=8192, n_positions=2048,
        activation_function="gelu",
    ),
    "cerebras-gpt-2.7b": _gpt2(
        n_embd=2560, n_layer=32, n_head=32, n_inner=10_240, n_positions=2048,
        activation_function="gelu",
    ),
    "dialogpt-small": _gpt2(),
    "dialogpt-medium": _gpt2(n_embd=1024, n_layer=24, n_head=16),
    "openai-gpt": {"type": "openai-gpt"},
    "gpt-j-6b": {"type": "gptj"},
    "codegen-350m": _codegen(1024, 20, 16, 32),
    "codegen-2b": _codegen(2560, 32, 32, 64),
    "gpt-neo-125m": _neo(768, 12, 12),
    "gpt-neo-1.3b": _neo(2048, 24, 16),
    "gpt-neo-2.7b": _neo(2560, 32, 20),
    "opt-125m": _opt(768, 12, 12),
    "opt-350m": _opt(1024, 24, 16, word_embed_proj_dim=512, do_layer_norm_before=False),
    "opt-1.3b": _opt(2048, 24, 32),
    "opt-2.7b": _opt(2560, 32, 32),
    "opt-6.7b": _opt(4096, 32, 32),
    "pythia-14m": _pythia(128, 6, 4),
    "pythia-31m": _pythia(256, 6, 8),
    "pythia-70m": _pythia(512, 6, 8),
    "pythia-160m": _pythia(768, 12, 12),
    "pythia-410m": _pythia(1024, 24, 16),
    "pythia-1b": _pythia(2048, 16, 8),
    "pythia-1.4b": _pythia(2048, 24, 16),
    "pythia-2.8b": _pythia(2560, 32, 32),
    "pythia-6.9b": _pythia(4096, 32, 32, 50_432),
    "t5-small": _t5(512, 2048, 6, 8),
    "t5-base": _t5(768, 3072, 12, 12),
    "t5-large": _t5(1024, 4096, 24, 16),
    **{
        f"{family}-{size}": _t5(*sizes, **_GATED)
        for family in ("flan-t5", "t5-v1_1")
        for size, sizes in (
            ("small", (512, 1024, 8, 6)),
            ("base", (768, 2048, 12, 12)),
            ("large", (1024, 2816, 24, 16)),
        )
    },
    "mt5-small": _t5(512, 1024, 8, 6, vocab_size=250_112, **_GATED),
    "mt5-base": _t5(768, 2048, 12, 12, vocab_size=250_112, **_GATED),
    "bart-base": _bart(768, 6, 12),
    "bart-large": _bart(1024, 12, 16),
    **{
        f"{family}-{size}": _bloom(*sizes)
        for family in ("bloom", "bloomz")
        for size, sizes in (
            ("560m", (1024, 24, 16)),
            ("1b1", (1536, 24, 16)),
            ("1b7", (2048, 24, 16)),
            ("3b", (2560, 30, 32)),
        )
    },
    "qwen3-0.6b": _llama_like("qwen3", 151_936, 1024, 3072, 28, 16, 8, **_QWEN3),
    "qwen3-1.7b": _llama_like("qwen3", 151_936, 2048, 6144, 28, 16, 8, **_QWEN3),
    "qwen3-4b": _llama_like("qwen3", 151_936, 2560, 9728, 36, 32, 8, **_QWEN3),
    "qwen3-8b": _llama_like("qwen3", 151_936, 4096, 12_288, 36, 32, 8, head_dim=128),
    "qwen1.5-0.5b": _llama_like("qwen2", 151_936, 1024, 2816, 24, 16, 16, **_TIED),
    "qwen1.5-1.8b": _llama_like("qwen2", 151_936, 2048, 5504, 24, 16, 16),
    "qwen2.5-0.5b": _llama_like("qwen2", 151_936, 896, 4864, 24, 14, 2, **_TIED),
    "qwen2.5-1.5b": _llama_like("qwen2", 151_936, 1536, 8960, 28, 12, 2, **_TIED),
    "qwen2.5-3b": _llama_like("qwen2", 151_936, 2048, 11_008, 36, 16, 2, **_TIED),
    "qwen2.5-7b": _llama_like("qwen2", 152_064, 3584, 18_944, 28, 28, 4),
    "deepseek-r1-distill-qwen-7b": _llama_like("qwen2", 152_064, 3584, 18_944, 28, 28, 4),
    "deepseek-r1-distill-llama-8b": _llama_like("llama", 128_256, 4096, 14_336, 32, 32, 8),
    "deepseek-coder-1.3b": _llama_like("llama", 32_256, 2048, 5504, 24, 16, 16),
    "deepseek-r1-distill-qwen-1.5b": _llama_like("qwen2", 151_936, 1536, 8960, 28, 12, 2),
    "llama-3.2-1b": _llama_like("llama", 128_256, 2048, 8192, 16, 32, 8, head_dim=64, **_TIED),
    "llama-3.2-3b": _llama_like("llama", 128_256, 3072, 8192, 28, 24, 8, head_dim=128, **_TIED),
    "llama-3.1-8b": _llama_like("llama", 128_256, 4096, 14_336, 32, 32, 8),
    "llama-2-7b": _llama_like("llama", 32_000, 4096, 11_008, 32, 32, 32),
    "mistral-7b": _llama_like("mistral", 32_000, 4096, 14_336, 32, 32, 8, sliding_window=4096),
    "tinyllama-1.1b": _llama_like("llama", 32_000, 2048, 5632, 22, 32, 4),
    "smollm2-135m": _llama_like("llama", 49_152, 576, 1536, 30, 9, 3, **_TIED),
    "smollm2-360m": _llama_like("llama", 49_152, 960, 2560, 32, 15, 5, **_TIED),
    "smollm2-1.7b": _llama_like("llama", 49_152, 2048, 8192, 24, 32, 32, **_TIED),
    "phi-1": _llama_like("phi", 51_200, 2048, 8192, 24, 32, 32, partial_rotary_factor=0.5),
    "phi-2": _llama_like(
        "phi", 51_200, 2560, 10_240, 32, 32, 32, partial_rotary_factor=0.4, resid_pdrop=0.1
    ),
    "phi-3-mini": _llama_like("phi3", 32_064, 3072, 8192, 32, 32, 32),
    "phi-4-mini": _llama_like(
        "phi3", 200_064, 3072, 8192, 32, 24, 8, partial_rotary_factor=0.75, **_TIED
    ),
    "olmo-1b": _llama_like("olmo", 50_304, 2048, 8192, 16, 16, 16, **_TIED),
    "olmo-2-1b": _llama_like("olmo2", 100_352, 2048, 8192, 16, 16, 16),
    "stablelm-2-1.6b": _llama_like(
        "stablelm", 100_352, 2048, 5632, 24, 32, 32, partial_rotary_factor=0.25,
        use_qkv_bias=True,
    ),
    "gemma-3-1b": _llama_like(
        "gemma3_text", 262_144, 1152, 6912, 26, 4, 1, head_dim=256, sliding_window=512
    ),
    "gemma-3-270m": _llama_like(
        "gemma3_text", 262_144, 640, 2048, 18, 4, 1, head_dim=256, sliding_window=512
    ),
    "gemma-2-2b": _llama_like(
        "gemma2", 256_000, 2304, 9216, 26, 8, 4, head_dim=256, sliding_window=4096
    ),
    "gemma-2b": _llama_like("gemma", 256_000, 2048, 16_384, 18, 8, 1, head_dim=256),
}  # fmt: skip


# Other names of the same sizes.
_ALIKE = {
    "qwen2-": "qwen2.5-",
    "qwen2.5-coder-": "qwen2.5-",
    "qwen2.5-math-": "qwen2.5-",
    "smollm-": "smollm2-",
    "meta-llama-3-8b": "llama-3.1-8b",
    "llama-3-8b": "llama-3.1-8b",
    "phi-1_5": "phi-1",
    "phi-3.5-mini": "phi-3-mini",
    "stablelm-2-1_6b": "stablelm-2-1.6b",
    "olmo-2-0425-1b": "olmo-2-1b",
    "tinyllama_v1.1": "tinyllama-1.1b",
    "google-t5-": "t5-",
}
# What follows the size: trained on something else, or longer.
_TRAINING = re.compile(
    r"-(instruct|it|pt|chat|base|hf|mono|multi|nl|deduped|preview|4k|128k|2507|v\d+(\.\d+)*"
    r"|intermediate-step-.*)$"
)


def known(model: str) -> bool:
    """Whether there is a configuration of that name."""
    try:
        return bool(configuration(model))
    except KeyError:
        return False


def configuration(model: str) -> dict[str, Any]:
    """Return the values of a model named as on the hub: its owner and "-instruct" don't count.

    Raises:
        KeyError: nothing is known of that model.
    """
    name = model.rsplit("/", 1)[-1].lower()
    while True:
        for other, ours in _ALIKE.items():
            if name == other or (other.endswith("-") and name.startswith(other)):
                name = ours + name.removeprefix(other)
                break
        found = _PLAIN.get(_plain(name))
        shorter = _TRAINING.sub("", name)
        if found is not None:
            return found
        if shorter == name:
            raise KeyError(model)
        name = shorter


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name)


_PLAIN = {_plain(name): values for name, values in CONFIGURATIONS.items()}
