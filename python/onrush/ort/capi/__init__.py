"""The submodules of onnxruntime.capi that programs import, under the same names."""
