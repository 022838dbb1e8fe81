"""Reads a picture of text with rapidocr: three models find, turn and read the lines.

Written for onnxruntime, which rapidocr uses; runs on Onrush as
`python -m onrush.shim read_page.py [PICTURE]`. Without a picture it reads the scanned page that
scikit-image carries.
"""

import sys
import time

import skimage.data
from rapidocr import RapidOCR


def main():
    picture = sys.argv[1] if len(sys.argv) > 1 else skimage.data.page()
    reader = RapidOCR(params={"Global.log_level": "error"})
    begin = time.perf_counter()
    result = reader(picture)
    seconds = time.perf_counter() - begin
    for text, score in zip(result.txts or (), result.scores or ()):
        print(f"{100 * score:5.1f} %  {text}")
    print(f"{len(result.txts or ())} lines in {seconds:.2f} s, loading the models included")


if __name__ == "__main__":
    main()
