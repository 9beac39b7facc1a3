"""Finding a user's module: `package.module:factory`."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from dmpc.errors import ImportFailure
from dmpc.frontend.torch_program.rules import (
    NO_ATTRIBUTE,
    NO_MODULE,
    NOT_A_MODULE,
    THEIR_ERROR,
)
from dmpc.ir.registry import did_you_mean

if TYPE_CHECKING:
    from torch import nn


def from_factory(name: str) -> nn.Module:
    """The module of `package.module:factory`: a module, a class, or a callable that makes one.

    The current directory comes first in the search for the package. Raises ImportFailure with the
    cause if the user's code fails.
    """
    package, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(package)
    except ModuleNotFoundError as error:
        missing = error.name or package
        library = missing.partition(".")[0]
        if package == missing or package.startswith(f"{missing}."):
            hint = "run dmpc where it can be imported"
        elif library != missing:
            hint = f"another version of {library} may have it"
        else:
            hint = f"install {missing}"
        raise ImportFailure.of(NO_MODULE, where=name, missing=missing, nearest=hint) from None
    except Exception as error:  # whatever the user's file raises when it is read
        raise _theirs(name, f"importing {package} fails", error) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            hint = did_you_mean(part, [key for key in vars(found) if not key.startswith("_")])
            raise ImportFailure.of(
                NO_ATTRIBUTE, where=name, package=package, name=part, nearest=hint
            )
        found = getattr(found, part)
    return _module(found, name)


def _module(found: Any, name: str) -> nn.Module:
    from torch import nn

    if not isinstance(found, nn.Module) and callable(found):
        try:
            found = found()
        except Exception as error:  # whatever the user's factory raises
            raise _theirs(name, "the factory fails", error) from error
    if not isinstance(found, nn.Module):
        kind = type(found).__name__
        raise ImportFailure.of(NOT_A_MODULE, where=name, kind=kind)
    return found


def _theirs(name: str, what: str, error: Exception) -> ImportFailure:
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    line = f" ({os.path.basename(frame.filename)}:{frame.lineno})"
    said = f"{type(error).__name__}: {error}"
    return ImportFailure.of(THEIR_ERROR, where=name, what=what, error=said, line=line)
