"""Which test fails when a field of our resources is ignored: each leaf of the four CRDs, by its path.

A path is that of the schema: ``spec.windows[].days[]``. A test is a node id without parameters, below ``tests/``. A new
field needs its line here, and a test that goes otherwise with another value of it (or without what it records).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.manifests.crds import Schema, schema

PARTS = ("spec", "status")
PLURALS = ("selfhealingpolicies", "remediations", "remediationapprovals", "healingconfigs")

_POLICY = "fields/test_policy_fields.py"
_STATUS = "fields/test_status_fields.py"
_CONFIG = "fields/test_config_fields.py"
_RECORD = "fields/test_record_fields.py"
_PROGRESS = "fields/test_progress_fields.py"
_WRITE = "fields/test_operation_fields.py"
_LEAK = "unit/controller/test_leaks.py"
_LOAN = "unit/controller/test_loans.py"
_ACTIONS = "unit/controller/actions"

POLICIES: Mapping[str, str] = {
    "spec.anomalyType": f"{_POLICY}::test_only_anomalies_of_the_type_are_healed",
    "spec.action": f"{_POLICY}::test_the_action_is_the_one_that_is_tried",
    "spec.confidenceThreshold": f"{_POLICY}::test_nothing_is_done_below_the_threshold",
    "spec.cooldownPeriod": f"{_POLICY}::test_the_cooldown_lasts_as_long_as_the_policy_says",
    "spec.maxRetries": f"{_POLICY}::test_as_many_attempts_are_made_as_the_policy_allows",
    "spec.enabled": f"{_POLICY}::test_a_policy_that_is_not_enabled_starts_nothing_and_ends_what_it_began",
    "spec.targetNamespace": f"{_POLICY}::test_a_policy_of_the_product_heals_the_namespace_it_names",
    "spec.selector.matchLabels": f"{_POLICY}::test_only_workloads_with_the_labels_are_targets",
    **dict.fromkeys(
        (f"spec.selector.matchExpressions[].{name}" for name in ("key", "operator", "values[]")),
        f"{_POLICY}::test_only_workloads_that_meet_the_expressions_are_targets",
    ),
    "spec.mode": f"{_POLICY}::test_the_mode_decides_whether_the_controller_acts_by_itself",
    "spec.parameters.adjustResources.factor": f"{_ACTIONS}/test_adjust_resources.py::"
    "test_memory_grows_by_the_factor_but_at_least_by_a_fifth_and_100_mi_and_doubles_with_each_raise",
    "spec.parameters.adjustResources.maxMemory": f"{_ACTIONS}/test_adjust_resources.py::"
    "test_memory_grows_by_the_factor_but_at_least_by_a_fifth_and_100_mi_and_doubles_with_each_raise",
    "spec.parameters.adjustResources.maxCpu": f"{_POLICY}::test_a_cpu_limit_never_passes_the_maximum",
    "spec.parameters.scale.step": f"{_ACTIONS}/test_scale.py::test_scaling_adds_a_step_and_never_passes_the_maximum",
    "spec.parameters.scale.maxReplicas": f"{_ACTIONS}/test_scale.py::"
    "test_scaling_adds_a_step_and_never_passes_the_maximum",
    "spec.parameters.rollback.searchDepth": f"{_ACTIONS}/test_rollback.py::"
    "test_a_rollback_looks_no_further_back_than_search_depth",
    "spec.parameters.rollback.gitops": "unit/controller/test_argocd.py::"
    "test_what_argo_cd_owns_is_observed_unless_it_gives_leave_or_the_policy_goes_through_it",
    "spec.parameters.restart.strategy": f"{_ACTIONS}/test_restart.py::test_evict_takes_the_pod_that_is_not_ready",
    "spec.verification.stabilizationPeriod": f"{_POLICY}::test_a_fix_must_hold_for_the_stabilisation_period",
    "spec.verification.timeout": f"{_POLICY}::test_a_fix_that_does_not_help_is_waited_for_until_the_timeout",
    "spec.undoOnFailure": f"{_POLICY}::test_a_failed_fix_is_undone_unless_the_policy_keeps_it",
    "spec.escalation[]": f"{_POLICY}::test_what_did_not_help_is_followed_by_the_next_action_of_the_escalation",
    "spec.windows[].days[]": f"{_POLICY}::test_nothing_is_done_outside_of_the_windows",
    "spec.windows[].start": f"{_POLICY}::test_nothing_is_done_outside_of_the_windows",
    "spec.windows[].end": f"{_POLICY}::test_nothing_is_done_outside_of_the_windows",
    "spec.windows[].timezone": f"{_POLICY}::test_nothing_is_done_outside_of_the_windows",
    "spec.priority": f"{_POLICY}::test_the_highest_priority_wins_a_target",
    "spec.remediationHistoryLimit": "integration/test_controller_heals.py::"
    "test_of_old_records_only_as_many_stay_as_the_policy_wants",
    "status.conditions[].type": "unit/controller/test_status.py::"
    "test_a_policy_tells_what_it_does_and_how_the_last_time_ended",
    "status.conditions[].status": "unit/controller/test_status.py::"
    "test_a_policy_tells_what_it_does_and_how_the_last_time_ended",
    "status.conditions[].reason": "unit/controller/test_status.py::"
    "test_a_policy_tells_what_it_does_and_how_the_last_time_ended",
    "status.conditions[].message": f"{_STATUS}::test_conditions_say_since_when_and_for_which_generation_and_why",
    "status.conditions[].lastTransitionTime": f"{_STATUS}::test_a_condition_that_changes_says_when",
    "status.conditions[].observedGeneration": f"{_STATUS}::"
    "test_conditions_say_since_when_and_for_which_generation_and_why",
    "status.targets": f"{_STATUS}::test_targets_are_workloads_that_the_policy_selects_and_its_action_fits",
    "status.lastVerdict.target": f"{_STATUS}::test_the_last_verdict_is_that_of_the_endpoint_against_a_target",
    "status.lastVerdict.votes[].detector": f"{_STATUS}::test_the_last_verdict_is_that_of_the_endpoint_against_a_target",
    "status.lastVerdict.votes[].vote": f"{_STATUS}::test_the_last_verdict_is_that_of_the_endpoint_against_a_target",
    "status.lastVerdict.votes[].score": f"{_STATUS}::test_the_last_verdict_is_that_of_the_endpoint_against_a_target",
    "status.lastVerdict.confidence": f"{_STATUS}::test_the_last_verdict_is_that_of_the_endpoint_against_a_target",
    "status.lastVerdict.model": f"{_STATUS}::test_the_last_verdict_is_that_of_the_endpoint_against_a_target",
    "status.lastRemediationRef.name": f"{_STATUS}::test_the_newest_remediation_is_referred_to",
    "status.lastRemediationRef.namespace": f"{_STATUS}::test_the_newest_remediation_is_referred_to",
} | {
    f"status.remediations.{outcome}": f"{_STATUS}::test_each_outcome_is_counted_and_not_forgotten_with_its_record"
    for outcome in ("successful", "failed", "inconclusive", "error", "skipped", "denied", "observed")
}

_OBJECT = f"{_WRITE}::test_a_write_goes_to_the_object_that_is_stored"
_GUARD = f"{_WRITE}::test_an_object_that_is_not_the_one_that_was_planned_for_is_not_touched"
_PATCH = f"{_WRITE}::test_a_patch_is_made_as_it_is_stored"
_OPERATION: Mapping[str, str] = {
    **dict.fromkeys(("verb", "apiVersion", "kind", "namespace", "name"), _OBJECT),
    **dict.fromkeys(("uid", "resourceVersion"), _GUARD),
    **dict.fromkeys(("patch[].op", "patch[].path", "patch[].from", "patch[].value"), _PATCH),
}

REMEDIATIONS: Mapping[str, str] = {
    "spec.policyRef.name": f"{_RECORD}::test_the_record_says_which_policy_asked_and_how_it_was_then",
    "spec.policyRef.namespace": f"{_RECORD}::test_the_record_says_which_policy_asked_and_how_it_was_then",
    "spec.policyRef.uid": f"{_RECORD}::test_another_policy_of_the_same_name_is_not_the_one_that_asked",
    "spec.policyRef.generation": f"{_RECORD}::test_a_policy_that_was_edited_since_may_try_the_incident_again",
    "spec.target.apiVersion": f"{_RECORD}::test_the_record_says_which_workload_it_is_about",
    "spec.target.kind": f"{_RECORD}::test_another_workload_of_the_same_name_is_not_the_target",
    "spec.target.namespace": f"{_RECORD}::test_the_record_says_which_workload_it_is_about",
    "spec.target.name": f"{_RECORD}::test_another_workload_of_the_same_name_is_not_the_target",
    "spec.target.uid": f"{_RECORD}::test_another_workload_of_the_same_name_is_not_the_target",
    "spec.anomaly.type": f"{_RECORD}::test_the_record_says_what_was_wrong",
    "spec.anomaly.symptom": f"{_RECORD}::test_the_record_says_what_was_wrong",
    "spec.anomaly.detectedTime": f"{_RECORD}::test_the_first_status_repeats_what_was_found_and_when",
    "spec.anomaly.message": f"{_RECORD}::test_the_record_says_what_was_wrong",
    **dict.fromkeys(
        (
            "spec.verdict.confidence",
            "spec.verdict.votes[].detector",
            "spec.verdict.votes[].vote",
            "spec.verdict.votes[].score",
            "spec.verdict.topMetrics[].name",
            "spec.verdict.topMetrics[].observed",
            "spec.verdict.topMetrics[].expected",
            "spec.verdict.modelVersion",
        ),
        f"{_RECORD}::test_the_record_says_what_the_verdict_rested_on",
    ),
    "spec.verdict.source": f"{_RECORD}::test_what_only_the_ensemble_saw_needs_the_ensemble_to_be_called_healed",
    "status.conditions[].type": f"{_PROGRESS}::test_each_step_of_a_heal_is_a_condition",
    "status.conditions[].status": f"{_PROGRESS}::test_each_step_of_a_failure_is_a_condition",
    "status.conditions[].reason": f"{_PROGRESS}::test_each_step_of_a_failure_is_a_condition",
    **dict.fromkeys(
        (
            "status.conditions[].message",
            "status.conditions[].lastTransitionTime",
            "status.conditions[].observedGeneration",
        ),
        f"{_PROGRESS}::test_a_condition_says_why_since_when_and_about_which_generation",
    ),
    **dict.fromkeys(
        ("status.outcome", "status.reason", "status.message"),
        f"{_PROGRESS}::test_the_end_has_an_outcome_a_reason_and_a_message",
    ),
    "status.hindsight": "unit/controller/test_hindsight.py::"
    "test_the_healer_writes_it_and_a_cure_by_the_same_change_comes_later",
    **dict.fromkeys(
        ("status.loan.owner", "status.loan.fields[]", "status.loan.lentTime", "status.attempts[].change.lent[]"),
        f"{_LOAN}::test_a_rollback_with_leave_is_recorded_as_a_loan",
    ),
    "status.loan.revision": f"{_LOAN}::test_a_loan_ends_when_git_moves_on_or_nobody_wants_it",
    "status.loan.returnedTime": f"{_LOAN}::test_an_open_remediation_and_one_that_is_returned_owe_nothing",
    "status.loan.reason": f"{_LOAN}::test_the_healer_lets_go_when_git_moves_on_and_says_so",
    "status.nextStepTime": f"{_PROGRESS}::test_the_next_step_says_when_it_is_due_at_the_latest",
    **dict.fromkeys(
        (f"status.times.{name}" for name in ("detected", "decided", "applied", "recovered", "verified", "completed")),
        f"{_PROGRESS}::test_the_times_of_a_heal_follow_each_other",
    ),
    "status.times.undone": f"{_PROGRESS}::test_the_time_of_an_undo_is_recorded_and_none_of_a_success",
    "status.times.cleared": f"{_PROGRESS}::test_what_was_seen_to_be_over_is_recorded_once",
    **dict.fromkeys(
        (f"status.attempts[].{name}" for name in ("action", "startedTime", "endedTime", "message")),
        f"{_PROGRESS}::test_an_attempt_says_what_was_tried_when_and_what_came_of_it",
    ),
    **{f"status.attempts[].change.operations[].{name}": test for name, test in _OPERATION.items()},
    **{f"status.attempts[].change.undo[].{name}": test for name, test in _OPERATION.items()},
    **{f"status.attempts[].undo[].{name}": test for name, test in _OPERATION.items()},
    "status.attempts[].change.diff": f"{_PROGRESS}::test_what_a_plan_would_do_is_shown_to_whom_it_waits_for",
    "status.attempts[].change.note": f"{_PROGRESS}::test_the_note_of_a_plan_is_told",
    "status.attempts[].change.expected": f"{_PROGRESS}::"
    "test_a_value_that_is_not_as_expected_after_the_change_is_a_change_taken_back",
    "status.attempts[].change.outOfMemory.container": f"{_LEAK}::test_what_may_have_another_reason_is_no_leak",
    "status.attempts[].change.outOfMemory.limit": f"{_LEAK}::test_what_may_have_another_reason_is_no_leak",
    "status.attempts[].change.outOfMemory.seconds": f"{_LEAK}::"
    "test_verification_notices_that_the_raise_bought_time_and_no_more",
    "status.attempts[].dryRun": f"{_PROGRESS}::test_an_attempt_keeps_the_plan_its_undo_and_what_the_dry_run_said",
    "status.attempts[].result": f"{_PROGRESS}::test_a_plan_is_written_only_while_it_is_planned",
    "status.attempts[].reason": f"{_PROGRESS}::test_a_refused_attempt_keeps_its_reason",
    "status.attempts[].evidence[]": f"{_PROGRESS}::test_an_attempt_keeps_the_evidence_of_its_verification",
}

APPROVALS: Mapping[str, str] = {
    "spec.remediationName": f"{_CONFIG}::test_a_decision_is_about_the_remediation_that_it_names",
    "spec.decision": f"{_CONFIG}::test_a_person_decides_whether_the_plan_is_written",
    "spec.approver": f"{_CONFIG}::test_who_decided_is_on_the_record",
    "spec.reason": f"{_CONFIG}::test_why_somebody_decided_so_is_on_the_record",
}

CONFIGS: Mapping[str, str] = {
    "spec.suspended": f"{_CONFIG}::test_suspension_holds_everything_back",
    "spec.budget.maxConcurrent": f"{_CONFIG}::test_only_so_many_remediations_are_open_at_once",
    "spec.budget.maxPerHour": f"{_CONFIG}::test_only_so_many_remediations_are_opened_in_an_hour",
    "spec.budget.maxPerNamespacePerHour": f"{_CONFIG}::"
    "test_only_so_many_remediations_are_opened_in_one_namespace_in_an_hour",
    "spec.storm.maxUnhealthyPercent": f"{_CONFIG}::test_a_storm_begins_above_the_share_that_is_configured",
    "spec.storm.cooldown": f"{_CONFIG}::test_after_a_storm_nothing_is_done_for_the_cooldown_that_is_configured",
    "spec.protectedNamespaces[]": f"{_CONFIG}::test_protected_namespaces_are_left_alone",
    "spec.approvalTimeout": f"{_CONFIG}::test_an_answer_is_waited_for_as_long_as_is_configured",
}

TESTS: Mapping[str, Mapping[str, str]] = dict(
    zip(PLURALS, (POLICIES, REMEDIATIONS, APPROVALS, CONFIGS), strict=True),
)


def leaves(node: Schema, path: str) -> Iterator[str]:
    """Paths of all fields that hold a value, below a schema; of a list those of its items, of a map the map."""
    if "properties" in node:
        for name, child in node["properties"].items():
            yield from leaves(child, f"{path}.{name}")
    elif "items" in node:
        yield from leaves(node["items"], f"{path}[]")
    else:
        yield path


def paths(plural: str) -> set[str]:
    """All leaf paths of a CRD."""
    parts = PARTS if plural in ("selfhealingpolicies", "remediations") else PARTS[:1]
    return {found for part in parts for found in leaves(schema(plural, part), part)}
