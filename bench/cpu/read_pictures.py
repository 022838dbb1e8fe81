#!/usr/bin/env python3
"""Reads scikit-image's page and 20 pieces of it, each of another size, with rapidocr; prints the
seconds of each part as JSON. A program for onnxruntime; bench/cpu/python.py runs it on both engines."""
import json
import logging
import time

import numpy as np
import skimage.data
from rapidocr import RapidOCR

PIECES = 20


def pieces(page):
    random = np.random.default_rng(0)
    height, width = page.shape
    for _ in range(PIECES):
        h, w = random.integers(height // 3, height), random.integers(width // 3, width)
        top, left = random.integers(0, height - h), random.integers(0, width - w)
        yield np.ascontiguousarray(page[top : top + h, left : left + w])


def main():
    logging.disable(logging.INFO)
    page = skimage.data.page()
    begin = time.perf_counter()
    reader = RapidOCR()
    loaded = time.perf_counter()
    reader(page)
    first = time.perf_counter()
    for piece in pieces(page):
        reader(piece)
    end = time.perf_counter()
    print(json.dumps({"load": loaded - begin, "page": first - loaded, "pieces": end - first}))


if __name__ == "__main__":
    main()
