"""Checks of the installation; there is nothing to check."""

from ..module import ORT_VERSION


def check_distro_info() -> None:
    pass


def get_package_name_and_version_info() -> tuple[str, str, str]:
    """Name of the distribution, its version and that of CUDA ("": none)."""
    return "onnxruntime", ORT_VERSION, ""
