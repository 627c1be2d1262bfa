"""The packages of the extra `ray`: imported when they are needed."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

from nestling.errors import ClusterError, NestlingError, PackageError

__all__ = ["connected_ray", "missing_cluster_package", "require_ray", "value_of"]


def missing_cluster_package(error: ImportError) -> PackageError:
    """Returns the error that says which extra brings a package."""
    return PackageError(f"clusters need more packages: pip install 'nestling[ray]' ({error})")


def require_ray() -> ModuleType:
    """Returns the package `ray`, which takes a second to import.

    Raises:
        PackageError: It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise missing_cluster_package(error) from error
    module: ModuleType = ray
    return module


def connected_ray() -> ModuleType:
    """Returns the package `ray`, connected to the cluster that RAY_ADDRESS names or to a local one.

    Raises:
        PackageError: It is not installed.
    """
    ray = require_ray()
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    return ray


def value_of(reference: Any, *, lost: str, timeout: float | None = None) -> Any:
    """Returns what a task or a method of an actor returned, once it has ended.

    Args:
        reference: What Ray returned for the call.
        lost: What an error says where there is no answer.
        timeout: Seconds to wait; None for no limit.

    Raises:
        NestlingError: As it was raised there.
        ClusterError: The task or the actor was killed, or did not end in time.
    """
    ray = require_ray()
    try:
        return ray.get(reference, timeout=timeout)
    except ray.exceptions.RayTaskError as error:  # which is also of the class of its cause
        if isinstance(error.cause, NestlingError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise ClusterError(f"{lost}: {error}") from error
