"""The packages of the extra `train`, imported when a training starts."""

from __future__ import annotations

from types import ModuleType

from nestling.errors import PackageError

__all__ = ["require_sentence_transformers", "require_torch"]


def require_torch() -> ModuleType:
    """Returns the package `torch`, which takes seconds to import.

    Raises:
        PackageError: It is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise PackageError("training needs torch: pip install 'nestling[train]'") from error
    module: ModuleType = torch
    return module


def require_sentence_transformers() -> ModuleType:
    """Returns the package `sentence_transformers`, with everything that its trainer needs.

    Raises:
        PackageError: It, or a package of its trainer, is not installed.
    """
    require_torch()
    try:
        import accelerate  # noqa: F401
        import datasets  # noqa: F401
        import sentence_transformers
        import sentence_transformers.sentence_transformer.losses
        import sentence_transformers.sentence_transformer.modules
    except ImportError as error:
        raise PackageError(
            "fine-tuning needs sentence-transformers 6 and the packages of its trainer: "
            f"pip install 'nestling[train]' ({error})"
        ) from error
    module: ModuleType = sentence_transformers
    return module
