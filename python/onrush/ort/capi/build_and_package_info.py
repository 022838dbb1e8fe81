"""What the distribution is called."""

from ..module import ORT_VERSION as __version__

package_name = "onnxruntime"
