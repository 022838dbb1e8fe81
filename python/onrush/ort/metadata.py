"""What a model says about itself."""

from __future__ import annotations

from typing import NamedTuple


class NodeArg(NamedTuple):
    """An input or output: ``type`` such as "tensor(float)"; ``shape`` with a size, a name or None
    for each dimension, empty where the rank is unknown."""

    name: str
    type: str
    shape: list[int | str | None]

    def __str__(self) -> str:
        return f"NodeArg(name='{self.name}', type='{self.type}', shape={self.shape})"

    @classmethod
    def _of(cls, name: str, type: str, shape: list | None) -> NodeArg:
        return cls(name, type, [] if shape is None else shape)


class ModelMetadata(NamedTuple):
    producer_name: str
    graph_name: str
    domain: str
    description: str
    graph_description: str
    version: int
    custom_metadata_map: dict[str, str]
