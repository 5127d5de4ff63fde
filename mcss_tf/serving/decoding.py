"""Decodes a batch of files in the graph, so that a bad file costs its own row and no other."""

import tensorflow as tf

from mcss_tf.serving.headers import Header, read_header
from mcss_tf.serving.signatures import Status

# 50 megapixels are 150 MB once decoded, and more than nearly all cameras have.
MAX_PIXELS = 50_000_000
# A progressive JPEG has about ten; each makes the decoder go through the whole image once more.
MAX_SCANS = 100
# Coordinates of boxes beyond this are a mistake, and would leave the range of the resizing op.
MAX_COORDINATE_PX = 1e6
# Rows that are decoded at once.
PARALLEL_ROWS = 4


def fit_square(images: tf.Tensor, size: int) -> tf.Tensor:
    """Scales images to fit a square, keeping their aspect, and pads the rest with black.

    Antialiased when shrinking, as in training; images that already have the size come back unchanged.

    Args:
        images: uint8 [batch, height, width, 3].
        size: side of the square, pixels.

    Returns:
        uint8 [batch, size, size, 3].
    """
    is_fitted = tf.reduce_all(tf.shape(images)[1:3] == size)
    fitted = tf.cond(is_fitted, lambda: images, lambda: pad_square(scale_to_fit(images, size), size))
    return tf.ensure_shape(fitted, [None, size, size, 3])


def scale_to_fit(images: tf.Tensor, size: int) -> tf.Tensor:
    """Scales images [batch, height, width, 3] until their longer side is `size`; uint8 like the images."""
    shape = tf.shape(images)
    height, width = shape[1], shape[2]

    def scaled() -> tf.Tensor:
        scale = size / tf.cast(tf.maximum(height, width), tf.float32)

        def length(side: tf.Tensor) -> tf.Tensor:
            # A hair of an image still keeps one row: tf.image.resize_with_pad would fail on it.
            return tf.clip_by_value(tf.cast(tf.round(tf.cast(side, tf.float32) * scale), tf.int32), 1, size)

        resized = tf.image.resize(images, [length(height), length(width)], antialias=True)
        # Training resizes to whole grey levels; so does serving, or the same crop would embed differently.
        return tf.cast(tf.round(resized), tf.uint8)

    return tf.cond(tf.maximum(height, width) == size, lambda: images, scaled)


def pad_square(images: tf.Tensor, size: int) -> tf.Tensor:
    """Centres images of at most `size` pixels a side in black squares of that size."""
    space = size - tf.shape(images)[1:3]
    before = space // 2
    rows, columns = tf.unstack(tf.stack([before, space - before], axis=1))
    return tf.ensure_shape(tf.pad(images, tf.stack([[0, 0], rows, columns, [0, 0]])), [None, size, size, 3])


def cut_square(image: tf.Tensor, box_px: tf.Tensor, context: float, size: int) -> tf.Tensor:
    """Cuts the square around a person's box out of a frame, as `data.boxes.square` and `data.crops.crop` do.

    Args:
        image: uint8 [height, width, 3].
        box_px: float [4], x0, y0, x1, y1.
        context: side of the square over the longer side of the box.
        size: of the result, pixels.

    Returns:
        uint8 [size, size, 3]; black beyond the frame.
    """
    low, high = box_px[:2], box_px[2:]
    side = tf.maximum(tf.round(context * tf.reduce_max(high - low)), 2.0)
    corner = tf.round((low + high) / 2 - side / 2)
    scale = tf.repeat(size / side, 2)
    # Cutting and scaling in one step: however far the square reaches beyond the frame, no margin is stored.
    square = tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=[size, size],
        scale=scale,
        translation=-corner[::-1] * scale,
        kernel_type="triangle",
        antialias=True,
    )
    return tf.cast(tf.round(square[0]), tf.uint8)


def turn_upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Undoes an EXIF orientation (int32, 1 to 8) of an image [height, width, channels]."""

    def turned() -> tf.Tensor:
        swapped = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        flips_rows = tf.reduce_any(orientation == [3, 4, 7, 8])
        flips_columns = tf.reduce_any(orientation == [2, 3, 6, 7])
        return tf.raw_ops.Reverse(tensor=swapped, dims=tf.stack([flips_rows, flips_columns, False]))

    return tf.cond(orientation == 1, lambda: image, turned)


def decode_rows(
    image_bytes: tf.Tensor, size: int, boxes_px: tf.Tensor | None = None, context: float = 1.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes files into squares, row by row.

    Args:
        image_bytes: string [batch], JPEG or PNG files of any sizes.
        size: side of the squares, pixels.
        boxes_px: float [batch, 4], the person in each upright frame; None for files that are crops already.
        context: side of the square around a box over the longer side of the box.

    Returns:
        Squares, uint8 [batch, size, size, 3], and `Status`, int32 [batch]; squares of refused rows are black.
    """

    def row(index: tf.Tensor, contents: tf.Tensor, box_px: tf.Tensor) -> tuple[tf.Tensor, ...]:
        header = read_header(contents)
        status = _header_status(header)
        if boxes_px is not None:
            status = tf.where((status == Status.OK) & _is_bad(box_px, header), Status.BAD_BOX, status)

        def decode() -> tf.Tensor:
            # decode_jpeg reads PNG too, and unlike decode_image it can decode as accurately as in training.
            image = tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")
            if boxes_px is not None:
                return cut_square(turn_upright(image, header.orientation), box_px, context, size)
            # Turned when it is small: turning 50 megapixels takes seconds and copies them twice.
            image = turn_upright(scale_to_fit(image[None], size)[0], header.orientation)
            return pad_square(image[None], size)[0]

        black = tf.zeros([size, size, 3], tf.uint8)
        square = tf.cond(status == Status.OK, decode, lambda: black)
        return index, tf.ensure_shape(square, black.shape), status

    count = tf.shape(image_bytes, out_type=tf.int64)[0]
    boxes = tf.zeros([count, 4]) if boxes_px is None else boxes_px
    rows = tf.data.Dataset.from_tensor_slices((tf.range(count), image_bytes, boxes))

    def gather(decoded: tf.data.Dataset) -> tuple[tf.Tensor, tf.Tensor]:
        # Decoders raise on damaged files. A dataset is what isolates this: it drops the row that failed.
        # The extra row lets it be a single element also when all have failed.
        extra = (count, tf.zeros([size, size, 3], tf.uint8), tf.constant(int(Status.OK)))
        kept = decoded.ignore_errors().concatenate(tf.data.Dataset.from_tensors(extra))
        index, squares, status = kept.batch(count + 1).with_options(_plain_options()).get_single_element()
        squares = tf.scatter_nd(index[:, None], squares, tf.stack([count + 1, size, size, 3]))
        # Rows that are not there keep NOT_AN_IMAGE.
        missing = tf.fill([count + 1], int(Status.NOT_AN_IMAGE))
        status = tf.tensor_scatter_nd_update(missing, index[:, None], status)
        return squares[:-1], status[:-1]

    # Threads cost a single image more than they gain.
    squares, status = tf.cond(
        count > 1,
        lambda: gather(rows.map(row, num_parallel_calls=PARALLEL_ROWS, deterministic=False)),
        lambda: gather(rows.map(row)),
    )
    return tf.ensure_shape(squares, [None, size, size, 3]), tf.ensure_shape(status, [None])


def _header_status(header: Header) -> tf.Tensor:
    is_large = (header.width * header.height > MAX_PIXELS) | (header.num_scans > MAX_SCANS)
    status = tf.where(is_large, Status.TOO_LARGE, Status.OK)
    return tf.where(header.is_image, status, Status.NOT_AN_IMAGE)


def _is_bad(box_px: tf.Tensor, header: Header) -> tf.Tensor:
    stored = tf.cast(tf.stack([header.width, header.height]), tf.float32)
    upright = tf.where(header.orientation >= 5, stored[::-1], stored)
    low, high = box_px[:2], box_px[2:]
    # Comparisons with NaN are False, so "is inside" must hold rather than "is outside" must not.
    is_box = tf.reduce_all((high > low) & (high > 0) & (low < upright))
    return ~(is_box & tf.reduce_all(tf.abs(box_px) <= MAX_COORDINATE_PX))


def _plain_options() -> tf.data.Options:
    """Without rewriting the pipeline at every request, which takes longer than a small image."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_warm_start = False
    return options
