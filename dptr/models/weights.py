"""Loading weights by name, strictly: what is missing, left over or of another shape is named."""

from __future__ import annotations

from torch import Tensor, nn

from dptr.errors import UserError


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], where: str, fresh: tuple[str, ...] = ()) -> list[str]:
    """Load ``tensors`` (float16 is widened to float32); only names that start with one of ``fresh`` may be missing.

    Args:
        where: named in the error.
        fresh: prefixes of parameters that keep their present values.

    Returns:
        The names left as they were.

    Raises:
        UserError: a missing, unexpected or differently shaped tensor.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in tensors]
    faults = [
        f"{name} {tuple(tensors[name].shape)} where {tuple(own[name].shape)} is needed"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    faults += [f"{name} is missing" for name in missing if not name.startswith(fresh or ("\0",))]
    faults += [f"{name} is not part of this model" for name in tensors if name not in own]
    if faults:
        raise UserError(
            f"{where}: {faults[0]} ({len(faults)} such); the weights are of another architecture; "
            "use the settings that they were trained with"
        )
    wide = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    module.load_state_dict(wide, strict=False)
    return missing
