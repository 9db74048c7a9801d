"""The ClusterRole of a namespace that is opted in, from what the actions declare: ``python -m controller.rights``.

It prints ``manifests/rbac/healer.yaml``. A test compares the two, so a right that no action asks for cannot stay.
"""

from __future__ import annotations

import sys
from collections import defaultdict

from controller.actions import ACTIONS
from selfheal.policy import HEALER_ROLE

Right = tuple[str, str, str]

_HEAD = f"""\
# Made from the `rights` of the actions by `python -m controller.rights > manifests/rbac/healer.yaml`; a test compares.
# Pods are evicted, within their PodDisruptionBudgets, and never deleted: a deletion knows no budget.
# It is bound by nobody here. An administrator opts a namespace in with a label and a RoleBinding of this role:
# `selfheal enable NAMESPACE`, or manifests/examples/opt-in.yaml.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {HEALER_ROLE}
  labels:
    app.kubernetes.io/name: selfheal
    app.kubernetes.io/component: controller
    app.kubernetes.io/part-of: selfheal
rules:
"""


def needed() -> dict[Right, tuple[str, ...]]:
    """Group, resource and verb of every write that an action may plan, with the actions that ask for it."""
    found: defaultdict[Right, list[str]] = defaultdict(list)
    for action, planner in sorted(ACTIONS.items()):
        for right in planner.rights:
            found[right].append(str(action))
    return {right: tuple(actions) for right, actions in sorted(found.items())}


def manifest() -> str:
    """The ClusterRole as YAML: one rule for resources of one group that the same actions write with the same verb."""
    rules: defaultdict[tuple[tuple[str, ...], str, str], list[str]] = defaultdict(list)
    for (group, resource, verb), actions in needed().items():
        rules[actions, group, verb].append(resource)
    return _HEAD + "".join(
        f"  # {', '.join(actions)}\n"
        f'  - apiGroups: ["{group}"]\n'
        f"    resources: [{', '.join(resources)}]\n"
        f"    verbs: [{verb}]\n"
        for (actions, group, verb), resources in sorted(rules.items())
    )


if __name__ == "__main__":
    sys.stdout.write(manifest())
