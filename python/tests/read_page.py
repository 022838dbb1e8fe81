"""A program for onnxruntime: the text of scikit-image's page, as JSON. "cuda": read on the GPU."""

import json
import logging
import sys

import onnxruntime
import skimage.data
from rapidocr import RapidOCR

logging.disable(logging.INFO)
reader = RapidOCR(params={"EngineConfig.onnxruntime.use_cuda": sys.argv[1:] == ["cuda"]})
result = reader(skimage.data.page())
providers = reader.text_det.session.session.get_providers()
print(
    json.dumps(
        {
            "texts": list(result.txts),
            "module": onnxruntime.InferenceSession.__module__,
            "provider": providers[0],
        }
    )
)
