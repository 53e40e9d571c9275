"""Image files as pixels, strictly: a file that is damaged as far as its format can tell is refused, never repaired.

Decoders fill in what they cannot read and go on; here their warnings and the formats' checksums count as errors. Not a
colour-management layer: ICC profiles, gamma chunks and XMP are ignored, as OpenCV and the papers' own loaders do.
What no format can tell stays unseen: BMP, PNM, LZW, WebP, GIF, JPEG 2000 and AVIF carry no checksum, so that a changed
byte among their pixels can decode to another picture without a trace.
"""

from __future__ import annotations

from iqpir.codecs.decode import decode, decoder
from iqpir.codecs.header import MAX_PIXELS, Header, kind_of, read_header
from iqpir.codecs.names import SUFFIXES, is_image, left_out

__all__ = ["MAX_PIXELS", "SUFFIXES", "Header", "decode", "decoder", "is_image", "kind_of", "left_out", "read_header"]
