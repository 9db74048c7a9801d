"""The roles that let actions write, from what they declare: ``python -m controller.rights``.

It prints ``manifests/rbac/healer.yaml``, for namespaces that are opted in, and with the word ``argocd``
``manifests/argocd/rollback.yaml``, for Argo CD's own. A test compares, so a right that no action asks for cannot stay.
"""

from __future__ import annotations

import sys
from collections import defaultdict

from controller.actions import ACTIONS
from controller.argocd import GROUP
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


_ARGOCD_HEAD = """\
# Made from the `rights` of the actions by `python -m controller.rights argocd > manifests/argocd/rollback.yaml`; a test
# compares. Apply it where policies may say `rollback.gitops: Application`: it lets the controller change Applications
# in Argo CD's namespace (with OpenShift GitOps openshift-gitops), and Argo CD deploys with rights of its own whatever
# an Application says. The controller changes automated sync and asks for a sync of an older revision, nothing else.
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: selfheal-argocd-rollback
  namespace: argocd
  labels:
    app.kubernetes.io/name: selfheal
    app.kubernetes.io/component: controller
    app.kubernetes.io/part-of: selfheal
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: selfheal-argocd-rollback
subjects:
  - kind: ServiceAccount
    name: selfheal-controller
    namespace: selfheal-system
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: selfheal-argocd-rollback
  namespace: argocd
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
    return _HEAD + _rules(argocd=False)


def argocd_manifest() -> str:
    """The Role in Argo CD's namespace, and its binding, as YAML."""
    return _ARGOCD_HEAD + _rules(argocd=True)


def _rules(*, argocd: bool) -> str:
    rules: defaultdict[tuple[tuple[str, ...], str, str], list[str]] = defaultdict(list)
    for (group, resource, verb), actions in needed().items():
        if (group == GROUP) is argocd:
            rules[actions, group, verb].append(resource)
    return "".join(
        f"  # {', '.join(actions)}\n"
        f'  - apiGroups: ["{group}"]\n'
        f"    resources: [{', '.join(resources)}]\n"
        f"    verbs: [{verb}]\n"
        for (actions, group, verb), resources in sorted(rules.items())
    )


if __name__ == "__main__":
    sys.stdout.write(argocd_manifest() if sys.argv[1:] == ["argocd"] else manifest())
