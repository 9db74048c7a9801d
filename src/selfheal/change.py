"""What an attempt writes, as it is stored before anything is written: operations, what takes them back, what is lent.

Source: design api.md section 2.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from selfheal.apitypes import ApiModel, Text


class StoredModel(ApiModel):
    """Written by the controller and read back by another version of it: unknown fields are kept out of the way."""

    model_config = ConfigDict(extra="ignore")


class Operation(StoredModel):
    """One write to the API server.

    Attributes:
        verb: ``Patch`` a resource, ``Resize`` a pod in place, ``Evict`` a pod, ``Scale`` through the subresource.
        api_version, kind, namespace, name: The object.
        uid: Precondition: another object of the same name is not touched.
        resource_version: Precondition; empty where the object's state may move on in the meantime (a pod's status).
        patch: JSON patch (RFC 6902); ``test`` operations hold what must not have changed. Empty for an eviction.
    """

    verb: Literal["Patch", "Resize", "Evict", "Scale"]
    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str = ""
    patch: tuple[dict[str, Any], ...] = ()


class OutOfMemory(StoredModel):
    """How a container was killed for its memory: under which limit, and how many seconds after its start."""

    container: str
    limit: str
    seconds: Annotated[float, Field(ge=0)]


class Change(StoredModel):
    """A plan: what will be written, what a person reads, and what would take it back.

    Attributes:
        operations: In the order in which they are written.
        diff: For people, one line a field: ``memory limit of app: 48Mi -> 100Mi``.
        undo: Restores what was touched; empty only where nothing needs restoring (an evicted pod is replaced).
        note: What a person should know, e.g. that an in-place resize lasts as long as the pod.
        expected: JSON pointers and values that the target must carry after the change, for verification and to see
            after a crash whether it was applied.
        lent: Fields of the target that Git owns and that are changed with its owner's leave, as ``diff`` names them.
        out_of_memory: The kill that a raised limit is to prevent. Who is killed again, only later by as much as the
            memory grew, leaks.
    """

    operations: tuple[Operation, ...] = ()
    diff: Text = ""
    undo: tuple[Operation, ...] = ()
    note: Text = ""
    expected: dict[str, Any] = Field(default_factory=dict)
    lent: tuple[Text, ...] = ()
    out_of_memory: OutOfMemory | None = None


class Loan(StoredModel):
    """What the workload's owner has lent: fields of Git's that stand as we have set them, with its leave.

    Attributes:
        owner: Who lends: ``Argo CD (shop)``.
        fields: As the diff of the change names them.
        revision: Of the repository when they were lent.
        lent_time: Since when.
        returned_time: Until when; None while they are lent.
        reason: Why they were returned: ``GitChanged``, ``PolicyGone``, ``Undone``, ``TakenBack``, ``LeaveGone``,
            ``OwnerUnknown`` or ``AutomatedAgain``.
    """

    owner: str
    fields: tuple[Text, ...] = ()
    revision: str = ""
    lent_time: AwareDatetime
    returned_time: AwareDatetime | None = None
    reason: str = ""
