"""Files and images of any shape become squares of the network's size."""

import io
import resource
import struct
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from mcss_tf.data.boxes import square as square_around
from mcss_tf.data.crops import crop
from mcss_tf.serving.decoding import PARALLEL_ROWS, decode_rows, fit_square
from mcss_tf.serving.headers import PNG_SIGNATURE, read_header
from mcss_tf.serving.signatures import Status


def test_an_image_of_the_right_size_is_unchanged() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(fit_square(images, 8), images)


def test_a_wide_image_gets_black_bars_above_and_below() -> None:
    fitted = fit_square(np.full((1, 2, 4, 3), 90, np.uint8), 8)[0, :, :, 0].numpy()
    np.testing.assert_allclose(fitted[[0, 1, 6, 7]], 0)
    np.testing.assert_allclose(fitted[2:6], 90)


def test_shrinking_averages_instead_of_dropping_rows() -> None:
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    # One row in eight: sampling only the nearest rows would miss every one of them.
    stripes[:, ::8] = 200
    fitted = fit_square(stripes, 8).numpy()
    np.testing.assert_allclose(fitted[:, 1:-1], 25, atol=3)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.integers(1, 16))
def test_every_shape_fits_and_keeps_its_aspect(height: int, width: int, size: int) -> None:
    fitted = fit_square(np.full((1, height, width, 3), 255, np.uint8), size)[0, :, :, 0].numpy()
    assert fitted.shape == (size, size)
    filled = fitted > 0
    rows, columns = filled.any(axis=1).sum(), filled.any(axis=0).sum()
    assert max(rows, columns) == size
    assert rows == pytest.approx(max(1, size * height / max(height, width)), abs=0.51)
    assert columns == pytest.approx(max(1, size * width / max(height, width)), abs=0.51)
    np.testing.assert_allclose(fitted[filled], 255, rtol=1e-5)


SIZE = 32


@pytest.fixture(scope="module")
def decode():
    """Decodes files given as a list, built once; returns squares and statuses as arrays."""
    function = tf.function(
        lambda image_bytes: decode_rows(image_bytes, SIZE), input_signature=[tf.TensorSpec([None], tf.string)]
    )

    def call(contents: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        squares, status = function(tf.constant(contents, tf.string))
        return squares.numpy(), status.numpy()

    return call


@pytest.fixture(scope="module")
def cut():
    """Likewise with boxes, of the context 1.25."""
    specs = [tf.TensorSpec([None], tf.string), tf.TensorSpec([None, 4])]
    function = tf.function(
        lambda image_bytes, boxes_px: decode_rows(image_bytes, SIZE, boxes_px, 1.25), input_signature=specs
    )

    def call(contents: list[bytes], boxes_px: list) -> tuple[np.ndarray, np.ndarray]:
        squares, status = function(tf.constant(contents, tf.string), tf.constant(boxes_px, tf.float32))
        return squares.numpy(), status.numpy()

    return call


def photo(width: int = 90, height: int = 60) -> Image.Image:
    """A smooth picture without any symmetry."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.BICUBIC)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}), **options)
    return buffer.getvalue()


def expected_square(contents: bytes) -> np.ndarray:
    """The naive reference: Pillow decodes and turns, then the same fitting."""
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(contents))).convert("RGB")
    return fit_square(np.asarray(upright)[None], SIZE)[0].numpy()


def assert_close(square: np.ndarray, expected: np.ndarray, levels: int) -> None:
    assert np.abs(square.astype(int) - expected.astype(int)).max() <= levels


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_all_eight_orientations_are_turned_as_pillow_turns_them(decode, kind) -> None:
    files = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x010F] = "a maker before the tag, so that it is not the first"
        exif[0x0112] = orientation
        files.append(encoded(photo(), kind, exif=exif))
    squares, status = decode(files)
    np.testing.assert_array_equal(status, Status.OK)
    for square, contents in zip(squares, files, strict=True):
        assert_close(square, expected_square(contents), 1)
    assert len({square.tobytes() for square in squares}) == 8, "no two orientations look alike"


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_in_both_byte_orders(order) -> None:
    mark = b"II" if order == "<" else b"MM"
    tiff = mark + struct.pack(order + "HIH", 42, 8, 1) + struct.pack(order + "HHIHHI", 0x0112, 3, 1, 6, 0, 0)
    segment = b"Exif\0\0" + tiff
    jpeg = encoded(photo(), "JPEG")
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]
    assert ImageOps.exif_transpose(Image.open(io.BytesIO(turned))).size == (60, 90)
    header = read_header(tf.constant(turned))
    assert (int(header.width), int(header.height), int(header.orientation)) == (90, 60, 6)


def test_kinds_of_files_that_cameras_and_tools_write(decode) -> None:
    """16 bits keep their upper 8; an animation shows its first picture; CMYK is converted as Pillow does."""
    grey16 = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21)
    animation = [photo(), photo().rotate(180)]
    files = {
        "progressive": encoded(photo(), "JPEG", progressive=True),
        "grey": encoded(photo().convert("L"), "JPEG"),
        "cmyk": encoded(photo().convert("CMYK"), "JPEG"),
        "palette": encoded(photo().quantize(16), "PNG"),
        "animated": encoded(animation[0], "PNG", save_all=True, append_images=animation[1:]),
        "alpha": encoded(photo().convert("RGBA"), "PNG"),
        "16 bits": encoded(grey16, "PNG"),
    }
    squares, status = decode(list(files.values()))
    np.testing.assert_array_equal(status, Status.OK)
    for name, square in zip(files, squares, strict=True):
        if name == "16 bits":
            grey = Image.fromarray((np.asarray(grey16) >> 8).astype(np.uint8)).convert("RGB")
            expected = fit_square(np.asarray(grey)[None], SIZE)[0].numpy()
        else:
            expected = expected_square(files[name])
        assert_close(square, expected, 3)


def test_what_is_no_jpeg_or_png_has_a_status_and_its_neighbours_are_untouched(decode) -> None:
    good = encoded(photo(), "JPEG")
    bad = [b"", b"x", b"hello " * 100, good[:2], good[: len(good) // 2], good[:-40]]
    bad += [encoded(photo(), kind) for kind in ("GIF", "BMP", "WEBP")]
    png = bytearray(encoded(photo(), "PNG"))
    png[len(png) // 2] ^= 0xFF
    bad.append(bytes(png))
    squares, status = decode([good, *bad, good])
    assert status.tolist() == [Status.OK, *[Status.NOT_AN_IMAGE] * len(bad), Status.OK]
    np.testing.assert_array_equal(squares[[0, -1]], decode([good, good])[0])
    assert not squares[1:-1].any()
    # All rows, and none.
    assert decode([b"", b"?"])[1].tolist() == [Status.NOT_AN_IMAGE] * 2
    assert decode([b""])[1].tolist() == [Status.NOT_AN_IMAGE]
    assert decode([])[0].shape == (0, SIZE, SIZE, 3)


def bomb(width: int, height: int) -> bytes:
    """A small, valid PNG of one bit a pixel, which takes width * height * 3 bytes once decoded."""
    row = b"\0" + bytes(-(-width // 8))
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return PNG_SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_file_with_too_many_pixels_is_refused_before_it_is_decoded(decode) -> None:
    jpeg = bytearray(encoded(photo(), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    scans = encoded(photo(), "JPEG", progressive=True)
    at = scans.rindex(b"\xff\xda")
    many_scans = scans[:at] + scans[at:-2] * 120 + scans[-2:]
    decode([bomb(64, 64)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    squares, status = decode([bomb(20_000, 20_000), bytes(jpeg), many_scans, bomb(90, 60)])
    assert status.tolist() == [Status.TOO_LARGE, Status.TOO_LARGE, Status.TOO_LARGE, Status.OK]
    assert not squares.any()
    # The bomb alone is 1.2 GB once decoded; kilobytes as ru_maxrss has them.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_memory_does_not_grow_with_the_number_of_large_files(decode) -> None:
    """16 megapixels each, 48 MB once decoded: only `PARALLEL_ROWS` of them are there at once."""
    large = bomb(4000, 4000)
    decode([large] * PARALLEL_ROWS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert decode([large] * 16)[1].tolist() == [Status.OK] * 16
    # All at once would add 12 x 48 MB; the first four may not have been there at the same moment.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_hostile_file_of_endless_segments_ends_early(decode) -> None:
    jpeg = encoded(photo(), "JPEG")
    filled = jpeg[:2] + b"\xff\xe5\0\2" * 2_000_000 + jpeg[2:]
    start = time.monotonic()
    assert decode([filled])[1].tolist() == [Status.NOT_AN_IMAGE]
    assert time.monotonic() - start < 10


def test_fuzzed_files_never_fail_the_batch(decode) -> None:
    """Bits flipped, bytes removed and repeated, ends cut: every row gets a status, and memory stays."""
    rng = np.random.default_rng(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = [encoded(photo(), "JPEG", exif=exif), encoded(photo(), "PNG", exif=exif)]
    seeds += [encoded(photo(), "JPEG", progressive=True), encoded(photo().convert("CMYK"), "JPEG")]

    def mutated(seed: bytes) -> bytes:
        data = bytearray(seed)
        # Headers are short beside the image data, so half of the faults are put there.
        for _ in range(rng.integers(1, 6)):
            at = int(rng.integers(0, min(len(data), 200) if rng.random() < 0.5 else len(data)))
            data[at] ^= 1 << int(rng.integers(0, 8))
        cut_at = int(rng.integers(0, len(data)))
        choice = rng.random()
        if choice < 0.3:
            return bytes(data[:cut_at])
        return bytes(data[:cut_at] + data[max(0, cut_at - 50) :]) if choice < 0.5 else bytes(data)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    statuses = []
    for start in range(0, 400, 50):
        batch = [mutated(seeds[index % len(seeds)]) for index in range(start, start + 49)]
        squares, status = decode([*batch, seeds[1]])
        assert status[-1] == Status.OK
        assert not squares[status != Status.OK].any()
        statuses += status[:-1].tolist()
    assert {Status.OK, Status.NOT_AN_IMAGE} <= set(statuses) <= set(Status)
    # An honest image of the allowed size takes 150 MB; a header that was flipped to one may ask for it.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000


def test_a_box_is_cut_as_prepare_cuts_it(cut) -> None:
    """Inside, across the border, on an image that EXIF turns; the reference crops with OpenCV."""
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [encoded(photo(200, 150), "PNG"), encoded(photo(200, 150), "PNG", exif=exif)]
    boxes = np.float32([[50.4, 20.2, 110.1, 120.7], [100, 10, 170, 199]])
    squares, status = cut([files[0], files[1], files[0]], [*boxes, [-30, -20, 60, 70]])
    np.testing.assert_array_equal(status, Status.OK)
    uprights = [
        np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(contents))))
        for contents in (files[0], files[1], files[0])
    ]
    for square_px, upright, box in zip(squares, uprights, [*boxes, [-30, -20, 60, 70]], strict=True):
        reference = crop(upright, square_around(np.float32([box]), 1.25)[0], SIZE)
        difference = np.abs(square_px.astype(int) - reference.astype(int))
        # Averaging over areas and over triangles differ where black meets the picture, and little elsewhere.
        assert np.median(difference) <= 2
        assert difference.mean() < 6


@pytest.mark.parametrize(
    "box",
    [
        [10, 10, 10, 20],
        [20, 10, 10, 20],
        [float("nan"), 0, 10, 10],
        [0, 0, float("inf"), 10],
        [-20, 0, -5, 10],
        [90, 0, 120, 10],
        [0, 0, 1e9, 10],
    ],
)
def test_a_box_that_shows_nothing_is_refused(cut, box) -> None:
    good = encoded(photo(), "JPEG")
    squares, status = cut([good, good], [box, [0, 0, 90, 60]])
    assert status.tolist() == [Status.BAD_BOX, Status.OK]
    assert not squares[0].any()
    assert squares[1].any()
