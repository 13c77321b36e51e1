"""A tiny ONNX file, written byte by byte: the package that writes them is no dependency."""

from __future__ import annotations

from pathlib import Path


def _number(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _field(tag: int, content: bytes | str | int) -> bytes:
    if isinstance(content, int):
        return _number(tag << 3) + _number(content)
    data = content.encode() if isinstance(content, str) else content
    return _number(tag << 3 | 2) + _number(len(data)) + data


def write_unary(path: Path, operator: str) -> None:
    """Writes a model of one operator without attributes, float32 in and out (any shape)."""
    node = _field(1, "x") + _field(2, "y") + _field(4, operator)
    kind = _field(2, _field(1, _field(1, 1)))  # a tensor of float32
    graph = _field(1, node) + _field(2, "g")
    graph += _field(11, _field(1, "x") + kind) + _field(12, _field(1, "y") + kind)
    model = _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))
    path.write_bytes(model)
