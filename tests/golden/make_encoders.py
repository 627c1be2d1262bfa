"""Makes tests/golden/encoders: what transformers gives for the networks of tiny_networks.py.

    python tests/golden/make_encoders.py

Each file holds a config.json, the shapes of the tensors (their values come from a seed), ids and
their mask, and `last_hidden_state`. It needs torch and transformers; the tests that read the files
do not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "api"))

from tiny_networks import CASES, GOLDEN, Case, batch, random_tensors


def build(case: Case) -> Any:
    """Returns the network of a case in transformers, with its random weights."""
    import torch
    import transformers

    config = getattr(transformers, f"{case.model}Config")(**case.config)
    config._attn_implementation = "eager"
    network = getattr(transformers, f"{case.model}{case.head}")(config).eval()
    tensors = random_tensors(shapes_of(network), around=0.0 if "Gemma" in case.model else 1.0)
    weights = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    missing, unexpected = network.load_state_dict(weights, strict=False)
    assert not unexpected
    assert not set(missing) & set(tensors)
    return network


def shapes_of(network: Any) -> dict[str, list[int]]:
    """Returns the shapes of the tensors of a network; copies in heads are left out."""
    state = network.state_dict()
    inside = f"{network.base_model_prefix}."
    first: dict[int, str] = {}
    for name in sorted(state, key=lambda name: not name.startswith(inside)):
        first.setdefault(state[name].data_ptr(), name)
    return {name: list(state[name].shape) for name in first.values()}


def run(network: Any, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns `last_hidden_state`, (batch, sequence, dim) float32."""
    import torch

    base = network.base_model
    options = {"use_cache": False} if hasattr(base.config, "use_cache") else {}
    with torch.no_grad():
        output = base(
            input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), **options
        )
    return output[0].numpy()


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, case in CASES.items():
        network = build(case)
        ids, mask = batch(case)
        config = json.loads(network.config.to_json_string(use_diff=False))
        config["architectures"] = [type(network).__name__]
        np.savez_compressed(
            GOLDEN / f"{name}.npz",
            config=json.dumps(config),
            shapes=json.dumps(shapes_of(network)),
            ids=ids,
            mask=mask,
            expected=run(network, ids, mask),
        )
        print(name)


if __name__ == "__main__":
    main()
