"""`nestling convert`: a model folder with ONNX graphs from one with safetensors weights."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from nestling.cli.command import command
from nestling.cli.options import Force, Json

__all__ = ["ConvertOptions", "convert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """The arguments and options of `nestling convert`."""

    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder, or a hub id.")]
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")]
    precision: Annotated[
        Literal["int8", "float32", "both"], typer.Option(help="Which graphs to write.")
    ] = "both"
    exporter: Annotated[
        Literal["weights", "torch"],
        typer.Option(
            "--with",
            help="weights: from the tensors alone. torch: for architectures that this cannot "
            "build; needs the extra `export`.",
        ),
    ] = "weights"
    force: Force = False
    as_json: Json = False


@command
def convert(options: ConvertOptions) -> None:
    """Convert a model with safetensors weights to a folder with ONNX graphs.

    The folder is checked before it appears. Encoders convert by themselves what they need, once;
    this is for folders to keep, to copy, and to serve.

    Example: nestling convert silma-ai/silma-embeddding-matryoshka-v0.1 --out silma
    """
    from nestling._util.atomic import new_folder, refuse_to_replace
    from nestling._util.console import console, print_json
    from nestling.models.convert import Conversion, convert_folder
    from nestling.models.locate import locate_weights
    from nestling.models.source import folder_name
    from nestling.runtime.folder import ModelFolder, Precision

    out = options.out
    refuse_to_replace(
        out, force=options.force, is_our_output=lambda path: (path / "nestling.json").is_file()
    )
    folder, source = locate_weights(options.model)
    name = folder_name(folder, source)
    both: tuple[Precision, ...] = ("float32", "int8")
    precisions = both if options.precision == "both" else (options.precision,)
    started = time.perf_counter()
    with new_folder(out) as staged:
        convert_folder(folder, staged, Conversion(precisions, name=name, exporter=options.exporter))
    seconds = time.perf_counter() - started
    made = ModelFolder.read(out)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    if options.as_json:
        print_json(
            {
                "out": str(out),
                "model": made.name,
                "precisions": list(precisions),
                "with": options.exporter,
                "nesting": list(made.nesting),
                "bytes": size,
                "seconds": round(seconds, 3),
            }
        )
    else:
        console().print(
            f"{out}: {made.name} as {' and '.join(precisions)}, {size / 1e6:,.0f} MB, "
            f"{seconds:.1f} s",
            markup=False,
        )
