"""A real Kubernetes on one machine, built from source: the place where selfheal is tried.

Three tiers: ``api`` (etcd and the control plane as the current user, pods simulated by kwok), ``node`` (adds
containerd, a kubelet, DNS, Prometheus and a demo shop; needs root) and ``current`` (an existing cluster of yours).
"""
