"""Writes the fixtures of the pixel tests: images, and what Pillow makes of them.

    pip install pillow==12.3.0 && python make_fixtures.py

Pillow 13 resizes along the columns first where it takes that for cheaper, which changes some pixels, most by one;
all versions before it resize along the rows first, as the plugin does.

`NAME.png` or `NAME.jpg` is an image; `NAME.rgb` are the pixels that Pillow decodes from a JPEG. `expected.txt` lists
one resizing a line, `IMAGE COLOR FILTER WIDTH HEIGHT`; `expected.bin` holds their pixels, one after another.
"""

import pathlib
import random
import struct
import zlib

from PIL import Image

HERE = pathlib.Path(__file__).parent / "fixtures"
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def picture(width, height, bands, seed):
    """Gradients with noise: smooth enough to compress, rough enough to tell a wrong rounding."""
    chance = random.Random(seed)
    out = bytearray()
    for y in range(height):
        for x in range(width):
            for band in range(bands):
                value = x * (3 + band) + y * (5 - band) + band * 40 + chance.randrange(24)
                out.append(value % 256)
    return bytes(out)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, lines, interlaced=False, extra=b""):
    """Written by hand, because Pillow writes neither interlaced images nor all depths."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    data = zlib.compress(b"".join(b"\0" + line for line in lines), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def lines(pixels, size):
    return [pixels[at : at + size] for at in range(0, len(pixels), size)]


def adam7(pixels, width, height, size):
    """The lines of the seven passes."""
    out = []
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        for y in range(y0, height, dy):
            line = b"".join(pixels[(y * width + x) * size : (y * width + x + 1) * size] for x in range(x0, width, dx))
            if line:
                out.append(line)
    return out


def images():
    rgb = picture(45, 37, 3, 1)
    yield "rgb", png(45, 37, 8, 2, lines(rgb, 45 * 3))
    yield "interlaced", png(45, 37, 8, 2, adam7(rgb, 45, 37, 3), interlaced=True)
    yield "rgba", png(33, 20, 8, 6, lines(picture(33, 20, 4, 2), 33 * 4))
    yield "gray", png(40, 64, 8, 0, lines(picture(40, 64, 1, 3), 40))
    yield "gray-alpha", png(19, 23, 8, 4, lines(picture(19, 23, 2, 4), 38))
    yield "gray1", png(24, 30, 1, 0, lines(picture(3, 30, 1, 5), 3))
    yield "gray2", png(24, 10, 2, 0, lines(picture(6, 10, 1, 6), 6))
    palette = chunk(b"PLTE", picture(16, 1, 3, 7)) + chunk(b"tRNS", bytes(range(0, 160, 10)))
    yield "palette4", png(30, 22, 4, 3, lines(picture(15, 22, 1, 8), 15), extra=palette)
    yield "rgb16", png(21, 17, 16, 2, lines(picture(21, 17, 6, 9), 21 * 6))
    yield "one-pixel", png(1, 1, 8, 2, [b"\x10\x80\xf0"])
    yield "line", png(64, 1, 8, 2, lines(picture(64, 1, 3, 10), 64 * 3))


def resizings(name):
    if name in ("rgb", "photo"):
        return [(28, 28), (7, 13), (100, 3), (60, 50), (45, 37)]
    if name == "interlaced":
        return [(45, 37)]
    return [(28, 28), (7, 13)]


def pixels(image, color):
    mode = {"rgb": "RGB", "gray": "L"}[color]
    return image.convert(mode)


def main():
    HERE.mkdir(exist_ok=True)
    for old in HERE.iterdir():
        old.unlink()
    listed, expected = [], b""
    files = {f"{name}.png": data for name, data in images()}
    for name, data in files.items():
        (HERE / name).write_bytes(data)
    photo = Image.frombytes("RGB", (50, 41), picture(50, 41, 3, 11)).resize((90, 70), FILTERS["bicubic"])
    photo.save(HERE / "photo.jpg", quality=90)
    photo.save(HERE / "progressive.jpg", quality=90, progressive=True)
    photo.save(HERE / "full-chroma.jpg", quality=90, subsampling=0)
    photo.convert("L").save(HERE / "gray.jpg", quality=90)
    photo.convert("CMYK").save(HERE / "cmyk.jpg", quality=30)
    for name in ("photo", "full-chroma"):
        (HERE / f"{name}.rgb").write_bytes(Image.open(HERE / f"{name}.jpg").convert("RGB").tobytes())
    for path in sorted(HERE.glob("*.png")) + [HERE / "photo.rgb"]:
        if path.suffix == ".rgb":
            image = Image.frombytes("RGB", (90, 70), path.read_bytes())
        else:
            image = Image.open(path)
        for color in ("rgb", "gray"):
            for number, (width, height) in enumerate(resizings(path.stem)):
                filter = "bicubic" if color == "rgb" and number == 0 else "bilinear"
                out = pixels(image, color).resize((width, height), FILTERS[filter])
                expected += out.tobytes()
                listed.append(f"{path.name} {color} {filter} {width} {height}")
    (HERE / "expected.bin").write_bytes(expected)
    (HERE / "expected.txt").write_text("\n".join(listed) + "\n")


if __name__ == "__main__":
    main()
