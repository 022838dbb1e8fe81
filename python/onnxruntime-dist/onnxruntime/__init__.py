"""onnxruntime's interface, on Onrush."""

import importlib
import sys

# From here on onrush.shim answers for this package and its submodules, this very import included.
import onrush.shim  # noqa: F401

sys.modules[__name__] = importlib.import_module(__name__)
