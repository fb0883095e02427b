"""The few values that make a language model's configuration, by its name on the hub."""

from __future__ import annotations

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
    "gpt-neo-125m": _neo(768, 12, 12),
    "gpt-neo-1.3b": _neo(2048, 24, 16),
    "gpt-neo-2.7b": _neo(2560, 32, 20),
    "opt-125m": _opt(768, 12, 12),
    "opt-350m": _opt(1024, 24, 16, word_embed_proj_dim=512, do_layer_norm_before=False),
    "opt-1.3b": _opt(2048, 24, 32),
    "opt-2.7b": _opt(2560, 32, 32),
    "pythia-70m": _pythia(512, 6, 8),
    "pythia-160m": _pythia(768, 12, 12),
    "pythia-410m": _pythia(1024, 24, 16),
    "pythia-1b": _pythia(2048, 16, 8),
    "pythia-1.4b": _pythia(2048, 24, 16),
    "pythia-2.8b": _pythia(2560, 32, 32),
    "t5-small": _t5(512, 2048, 6, 8),
    "t5-base": _t5(768, 3072, 12, 12),
    "t5-large": _t5(1024, 4096, 24, 16),
    "flan-t5-small": _t5(
        512, 1024, 8, 6, feed_forward_proj="gated-gelu", tie_word_embeddings=False
    ),
    "flan-t5-base": _t5(
        768, 2048, 12, 12, feed_forward_proj="gated-gelu", tie_word_embeddings=False
    ),
    "bloom-560m": {"type": "bloom", "vocab_size": 250_880, "hidden_size": 1024, "n_layer": 24,
                   "n_head": 16},
    "qwen3-0.6b": _llama_like("qwen3", 151_936, 1024, 3072, 28, 16, 8, **_QWEN3),
    "qwen3-1.7b": _llama_like("qwen3", 151_936, 2048, 6144, 28, 16, 8, **_QWEN3),
    "qwen3-4b": _llama_like("qwen3", 151_936, 2560, 9728, 36, 32, 8, **_QWEN3),
    "qwen2.5-0.5b": _llama_like("qwen2", 151_936, 896, 4864, 24, 14, 2, **_TIED),
    "qwen2.5-1.5b": _llama_like("qwen2", 151_936, 1536, 8960, 28, 12, 2, **_TIED),
    "qwen2.5-3b": _llama_like("qwen2", 151_936, 2048, 11_008, 36, 16, 2, **_TIED),
    "deepseek-r1-distill-qwen-1.5b": _llama_like("qwen2", 151_936, 1536, 8960, 28, 12, 2),
    "llama-3.2-1b": _llama_like("llama", 128_256, 2048, 8192, 16, 32, 8, head_dim=64, **_TIED),
    "llama-3.2-3b": _llama_like("llama", 128_256, 3072, 8192, 28, 24, 8, head_dim=128, **_TIED),
    "tinyllama-1.1b": _llama_like("llama", 32_000, 2048, 5632, 22, 32, 4),
    "smollm2-135m": _llama_like("llama", 49_152, 576, 1536, 30, 9, 3, **_TIED),
    "smollm2-360m": _llama_like("llama", 49_152, 960, 2560, 32, 15, 5, **_TIED),
    "gemma-2-2b": _llama_like(
        "gemma2", 256_000, 2304, 9216, 26, 8, 4, head_dim=256, sliding_window=4096
    ),
    "gemma-2b": _llama_like("gemma", 256_000, 2048, 16_384, 18, 8, 1, head_dim=256),
}  # fmt: skip


def configuration(model: str) -> dict[str, Any]:
    """Return the values of a model named as on the hub: its owner and "-instruct" don't count.

    Raises:
        KeyError: nothing is known of that model.
    """
    name = model.rsplit("/", 1)[-1].lower()
    for suffix in ("", "-instruct", "-it", "-chat", "-base", "-deduped"):
        if name.endswith(suffix) and name.removesuffix(suffix) in CONFIGURATIONS:
            return CONFIGURATIONS[name.removesuffix(suffix)]
    raise KeyError(model)
