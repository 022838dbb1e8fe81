"""A program for onnxruntime: the text of scikit-image's page, as JSON."""

import json
import logging

import onnxruntime
import skimage.data
from rapidocr import RapidOCR

logging.disable(logging.INFO)
result = RapidOCR()(skimage.data.page())
print(json.dumps({"texts": list(result.txts), "module": onnxruntime.InferenceSession.__module__}))
