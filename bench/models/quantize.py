#!/usr/bin/env python3
"""Quantises a model as users of onnxruntime do.

usage: quantize.py MODEL.onnx FORM OUT.onnx

FORM: qdq (static, QuantizeLinear and DequantizeLinear around operators), qoperator (static, QLinearConv
and so on), dynamic (MatMulInteger and ConvInteger, activations quantised as they come), int4 (weights
of matrix products in blocks of 32). Static forms are calibrated on the inputs that bench/cpu measures.
"""
import sys
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cpu"))
import models  # noqa: E402

FORMS = {"qdq": QuantFormat.QDQ, "qoperator": QuantFormat.QOperator}


class OneRun(CalibrationDataReader):
    def __init__(self, feeds):
        self.runs = iter([feeds])

    def get_next(self):
        return next(self.runs, None)


def quantize(source, form, target):
    if form == "int4":
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        quantizer = MatMulNBitsQuantizer(
            onnx.load(source), block_size=32, is_symmetric=True, quant_format=QuantFormat.QDQ
        )
        quantizer.process()
        return onnx.save(quantizer.model.model, target)
    # Without the shapes that the exporter noted, of which some disagree with the weights' new types.
    model = onnx.load(source)
    del model.graph.value_info[:]
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        onnx.save(model, plain)
        if form == "dynamic":
            return quantize_dynamic(plain, target, weight_type=QuantType.QInt8)
        feeds = models.architecture_feeds(Path(source).stem)
        given = {tensor.name: feed for tensor, feed in zip(model.graph.input, feeds.values())}
        quantize_static(
            plain,
            target,
            OneRun(given),
            quant_format=FORMS[form],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[2] not in (*FORMS, "dynamic", "int4"):
        sys.exit(__doc__)
    quantize(*sys.argv[1:])
