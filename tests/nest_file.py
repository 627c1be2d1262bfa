"""A second reader and writer of the file format that cpp/io/format.hpp documents, kept simple.

What it writes has valid checksums, whatever the content.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, replace

import xxhash

HEADER = struct.Struct("<8sII5Q")  # without its own checksum, the last field
ENTRY = struct.Struct("<16s4Q")


def xxh64(data: bytes) -> int:
    return xxhash.xxh64(data).intdigest()


def aligned(offset: int) -> int:
    return -(-offset // 64) * 64


@dataclass(frozen=True)
class NestFile:
    """The parts of a file."""

    metadata: bytes
    sections: tuple[tuple[bytes, bytes], ...]
    magic: bytes = b"nestling"
    version: int = 1
    byte_order: int = 0x01020304

    @classmethod
    def read(cls, data: bytes) -> NestFile:
        magic, version, order, size, metadata_size, count, table_sum, zero = HEADER.unpack_from(
            data
        )
        (header_sum,) = struct.unpack_from("<Q", data, 56)
        start = 64 + count * ENTRY.size
        assert size == len(data)
        assert zero == 0
        assert header_sum == xxh64(data[:56])
        assert table_sum == xxh64(data[64 : start + metadata_size])
        sections = []
        end = start + metadata_size
        for i in range(count):
            name, offset, length, checksum, zero = ENTRY.unpack_from(data, 64 + i * ENTRY.size)
            content = data[offset : offset + length]
            assert offset == aligned(end)
            assert not any(data[end:offset])
            assert checksum == xxh64(content)
            assert zero == 0
            sections.append((name.rstrip(b"\0"), content))
            end = offset + length
        assert size == aligned(end)
        assert not any(data[end:])
        return cls(data[start : start + metadata_size], tuple(sections), magic, version, order)

    def write(self) -> bytes:
        end = 64 + len(self.sections) * ENTRY.size + len(self.metadata)
        table, body = b"", b""
        start = aligned(end)
        for name, content in self.sections:
            offset = aligned(end)
            table += ENTRY.pack(name, offset, len(content), xxh64(content), 0)
            body += bytes(offset - start - len(body)) + content
            end = offset + len(content)
        index = table + self.metadata
        data = HEADER.pack(
            self.magic,
            self.version,
            self.byte_order,
            aligned(end),
            len(self.metadata),
            len(self.sections),
            xxh64(index),
            0,
        )
        data += struct.pack("<Q", xxh64(data)) + index
        data += bytes(start - len(data)) + body
        return data + bytes(aligned(end) - len(data))

    def with_fields(self, **changes: object) -> NestFile:
        return replace(self, metadata=json.dumps(json.loads(self.metadata) | changes).encode())

    def with_sections(self, **changes: bytes | None) -> NestFile:
        """Replaces sections, named with _ for a space; None leaves one out."""
        new = {name.replace("_", " ").encode(): content for name, content in changes.items()}
        sections = [(name, new.get(name, content)) for name, content in self.sections]
        return replace(self, sections=tuple((n, c) for n, c in sections if c is not None))
