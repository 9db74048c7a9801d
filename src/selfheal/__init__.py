"""selfheal: detects, fixes and proves fixes of failing workloads on OpenShift and Kubernetes."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("selfheal-platform")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.1.0+source"

__all__ = ["__version__"]
