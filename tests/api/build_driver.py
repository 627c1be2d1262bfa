"""A driver of builds, for tests: `build_driver.py ADDRESS SOURCE OUT SHARDS ROUTING [ONCE STEP…]`.

With steps, such as "put .nest", one build after the other is made, each into a folder of its own
below OUT, and at that step of it a worker of Ray kills itself.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["NESTLING_TEST_DRIVER"] = "1"

import ray
from cluster_files import register

from nestling import cluster

register()
address, source, out, shards, routing, *steps = sys.argv[1:]
assert routing == "rows" or routing == "cells"
settings = cluster.BuildSettings(routing=routing)
ray.init(
    address=address,
    log_to_driver=False,
    runtime_env={
        "env_vars": {"PYTHONPATH": str(Path(__file__).parent)},
        "worker_process_setup_hook": "cluster_files.register",
    },
)
if not steps:
    cluster.build(source, out, shards=int(shards), settings=settings, progress=False)
for number, step in enumerate(steps[1:]):
    once = Path(steps[0])
    once.write_text(step)
    options = {"once": str(once)}
    cluster.build(
        f"killing://{source}",
        f"killing://{out}/{number}",
        shards=int(shards),
        settings=settings,
        source_options=options,
        storage_options=options,
        progress=False,
    )
    print("survived" if once.exists() else "killed", step, flush=True)
