import contextlib
import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from replay.capture.encodings import TooLarge, Undecodable, decoded

LIMIT = 100_000


def bare_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


ENCODERS = {
    "gzip": gzip.compress,
    "X-Gzip": gzip.compress,
    "deflate": zlib.compress,
    " Deflate ": bare_deflate,
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("encoding", ENCODERS)
@given(data=st.binary(max_size=5000))
def test_every_encoding_is_undone(encoding, data):
    assert decoded(ENCODERS[encoding](data), encoding, LIMIT) == data


def test_several_encodings_are_undone_from_the_last():
    assert decoded(brotli.compress(gzip.compress(b"twice")), "gzip, br", LIMIT) == b"twice"
    assert decoded(gzip.compress(b"two ") + gzip.compress(b"members"), "gzip", LIMIT) == b"two members"


@pytest.mark.parametrize("encoding", sorted(set(ENCODERS) - {"identity"}))
def test_a_bomb_is_not_unpacked(encoding):
    with pytest.raises(TooLarge):
        decoded(ENCODERS[encoding](bytes(50_000_000)), encoding, LIMIT)


@pytest.mark.parametrize("encoding", sorted(set(ENCODERS) - {"identity"}))
@given(data=st.binary(min_size=1, max_size=200), cut=st.integers(1, 10))
def test_what_breaks_off_is_refused_or_whole(encoding, data, cut):
    encoded = ENCODERS[encoding](data)
    with contextlib.suppress(Undecodable):
        assert decoded(encoded[: max(1, len(encoded) - cut)], encoding, LIMIT) == data


@pytest.mark.parametrize("encoding", [*ENCODERS, "compress", "gzip, unheard-of", "gzip," * 50])
@given(data=st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(encoding, data):
    with contextlib.suppress(Undecodable, TooLarge):
        assert len(decoded(data, encoding, LIMIT)) <= LIMIT


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_of_countless_empty_members_is_refused(encoding):
    with pytest.raises(Undecodable):
        decoded(ENCODERS[encoding](b"") * 1_000_000, encoding, LIMIT)
