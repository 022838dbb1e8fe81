"""PyTorch's tensors on the GPU: the model reads and writes them in place.

python torch_gpu.py MODEL.onnx        a model with one input and one output of floats

A run comes after what torch's default stream was given before it, and is done when it returns, so
nothing needs to be synchronised.
"""

import sys

import numpy as np
import torch

import onrush as ort


def main():
    if not torch.cuda.is_available():
        sys.exit("torch_gpu.py: left out, PyTorch finds no GPU here")
    session = ort.InferenceSession(sys.argv[1], providers=["CUDAExecutionProvider"])
    (source,), (target,) = session.get_inputs(), session.get_outputs()
    shape = [size if isinstance(size, int) else 2 for size in source.shape]
    x = torch.randn(shape, device="cuda")
    (result,) = session.run(None, {source.name: x})  # no copies: x is on the GPU, and so is this
    y = torch.from_dlpack(result)
    print("plain run", y.mean().item())

    binding = session.io_binding()
    binding.bind_input(source.name, "cuda", 0, np.float32, shape, x.data_ptr())
    binding.bind_output(target.name, "cuda", 0, np.float32, list(y.shape), y.data_ptr())
    for _ in range(3):
        x.normal_()
        session.run_with_iobinding(binding)
        print("bound", y.mean().item())


if __name__ == "__main__":
    main()
