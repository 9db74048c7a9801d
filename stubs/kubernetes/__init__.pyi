"""The parts of the client that controller.cluster.client uses; the same from kubernetes 30 to 37."""

from kubernetes import client as client
from kubernetes import config as config
