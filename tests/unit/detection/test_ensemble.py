"""The four together: what a request is answered, and how a model is stored."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from selfheal.catalogue import catalogue_hash
from selfheal.ensemble import Ensemble, Members, split
from selfheal.errors import BadModel, BadRequest, MetricMismatch, NoData
from selfheal.members import spell
from selfheal.protocol import ModelInfo
from selfheal.window import MetricWindow
from tests.unit.detection.series import SHOP, SOURCES, changed, daily, instance, shop

MEMORY = ("pod_memory_usage", "memory_limit_ratio")
ROWS = 120


@pytest.fixture
def calm() -> MetricWindow:
    return shop(6, seed=9).rows(-ROWS)


@pytest.fixture
def leaking(calm: MetricWindow) -> MetricWindow:
    ramp = np.linspace(1.0, 1.8, ROWS // 2)
    return changed(calm, ROWS - ROWS // 2, dict.fromkeys(MEMORY, ramp))


def test_calm_data_is_no_anomaly(ensemble: Ensemble, calm: MetricWindow) -> None:
    answer = ensemble.predict([instance(calm)])[0]
    assert answer.anomaly is False
    assert answer.confidence is not None
    assert answer.confidence < 0.2
    assert set(answer.votes) == set(answer.scores) == {"isolation_forest", "arima", "prophet", "lstm"}
    assert answer.anomaly_type is None
    assert answer.basis == "workload"


def test_a_leak_is_typed_and_its_exhaustion_foreseen(ensemble: Ensemble, leaking: MetricWindow) -> None:
    answer = ensemble.predict([instance(leaking)])[0]
    assert answer.anomaly is True
    assert answer.anomaly_type == "MemoryLeak"
    assert answer.confidence is not None
    assert answer.confidence > 0.85
    assert {metric.name for metric in answer.top_metrics[:2]} == set(MEMORY)
    top = answer.top_metrics[0]
    assert top.observed is not None
    assert top.expected is not None
    assert top.observed > 1.3 * top.expected
    assert answer.forecast is not None
    assert 0 < answer.forecast.exhausted_in_lower <= answer.forecast.exhausted_in
    assert "pod_memory_usage" in answer.message or "memory_limit_ratio" in answer.message


def test_predict_answers_with_the_last_row_of_the_trace(ensemble: Ensemble, leaking: MetricWindow) -> None:
    answer = ensemble.predict([instance(leaking)])[0]
    trace = ensemble.trace(leaking)
    assert answer.anomaly == trace.anomaly[-1]
    assert answer.confidence == trace.confidence[-1]
    assert answer.votes == {name: votes[-1] for name, votes in trace.votes.items()}
    assert sorted(answer.scores.values())[-2] == trace.score[-1]


def test_a_trace_never_looks_ahead(ensemble: Ensemble, leaking: MetricWindow) -> None:
    for workload in ("shop/Deployment/cart", "shop/Deployment/stranger"):
        window = MetricWindow(workload, leaking.times, leaking.values, leaking.names, leaking.step)
        whole, part = ensemble.trace(window), ensemble.trace(window.rows(0, 90))
        np.testing.assert_array_equal(whole.score[:90], part.score)
        np.testing.assert_array_equal(whole.confidence[:90], part.confidence)
        np.testing.assert_array_equal(whole.anomaly[:90], part.anomaly)


def test_two_votes_make_an_anomaly_in_every_row(ensemble: Ensemble, leaking: MetricWindow) -> None:
    trace = ensemble.trace(leaking)
    assert trace.anomaly.any()
    np.testing.assert_array_equal(trace.anomaly, np.sum(list(trace.votes.values()), axis=0) >= 2)


def test_a_stranger_is_judged_by_the_pooled_model_without_prophet(ensemble: Ensemble, calm: MetricWindow) -> None:
    answer = ensemble.predict([instance(calm, workload="other/Deployment/new")])[0]
    assert answer.basis == "pooled"
    assert answer.anomaly is False
    assert set(answer.abstained) == {"prophet"}


def test_a_short_window_is_cannot_tell_and_says_why(ensemble: Ensemble, calm: MetricWindow) -> None:
    answer = ensemble.predict([instance(calm.rows(-5))])[0]
    assert answer.anomaly is None
    assert answer.confidence is None
    assert set(answer.abstained) == {"isolation_forest", "arima", "prophet", "lstm"}
    assert "needs a window of" in answer.message


def test_gaps_at_the_end_are_cannot_tell(ensemble: Ensemble, calm: MetricWindow) -> None:
    values = calm.values.copy()
    values[-3:] = np.nan
    answer = ensemble.predict([instance(calm.with_values(values))])[0]
    assert answer.anomaly is None
    assert "no sample in the newest 3 rows" in answer.message


def test_what_the_api_server_says_now_overlays_the_newest_sample(ensemble: Ensemble, calm: MetricWindow) -> None:
    now = {"pod_cpu_usage": 1e5, "memory_limit_ratio": 1e5, "cpu_throttled_ratio": 1e5, "not_in_the_window": 1.0}
    before, after = ensemble.predict([instance(calm), instance(calm, now=now)])
    assert after.scores["arima"] > 0.99 > before.scores["arima"]


def test_a_cold_start_never_votes(ensemble: Ensemble) -> None:
    day = shop(6, seed=11)
    for start in range(0, len(day) - 60, 77):
        trace = ensemble.trace(day.rows(start, start + 60))
        assert not trace.anomaly[:12].any()


def test_unknown_and_missing_metrics_are_named(ensemble: Ensemble, calm: MetricWindow) -> None:
    with pytest.raises(MetricMismatch, match="missing persistent_volume_usage"):
        ensemble.predict([instance(calm.select(SHOP[:-1]))])


def test_another_step_than_the_models_is_the_clients_mistake(ensemble: Ensemble, calm: MetricWindow) -> None:
    with pytest.raises(BadRequest, match="step of 60 s, the model was trained at 600 s"):
        ensemble.predict([instance(calm, step=60.0)])


def test_a_stored_ensemble_answers_as_before(ensemble: Ensemble, leaking: MetricWindow, tmp_path: Path) -> None:
    named = ensemble.with_info(ModelInfo(version="7", run_id="r"))
    named.save(tmp_path)
    again = Ensemble.load(tmp_path)
    asked = [instance(leaking), instance(leaking, workload="other/Deployment/new")]
    assert again.predict(asked) == named.predict(asked)
    assert again.info == ModelInfo(version="7", run_id="r", catalogue=catalogue_hash(SHOP))
    assert again.workloads == ensemble.workloads


def test_serving_needs_none_of_the_training_libraries(
    ensemble: Ensemble, leaking: MetricWindow, tmp_path: Path
) -> None:
    ensemble.save(tmp_path / "model")
    (tmp_path / "asked.json").write_text(instance(leaking).model_dump_json())
    program = """if True:
        import sys
        from pathlib import Path
        from selfheal.ensemble import Ensemble
        from selfheal.protocol import Instance
        asked = Instance.model_validate_json(Path(sys.argv[1], "asked.json").read_text())
        assert Ensemble.load(Path(sys.argv[1], "model")).predict([asked])[0].anomaly is True
        heavy = {"sklearn", "statsmodels", "prophet", "torch", "pandas"} & set(sys.modules)
        sys.exit(f"imported {heavy}" if heavy else 0)"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env=SOURCES, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("part", ["arima/w0000/arima.npz", "lstm/manifest.json", "manifest.json"])
def test_an_altered_file_is_a_bad_model(ensemble: Ensemble, tmp_path: Path, part: str) -> None:
    ensemble.save(tmp_path)
    content = (tmp_path / part).read_bytes()
    (tmp_path / part).write_bytes(content[:-200] + b"x" * 200)
    with pytest.raises(BadModel, match=r"manifest|damaged"):
        Ensemble.load(tmp_path)


def test_a_missing_file_or_folder_is_a_bad_model(ensemble: Ensemble, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="holds no model"):
        Ensemble.load(tmp_path / "nothing")
    ensemble.save(tmp_path)
    (tmp_path / "lstm/pooled/lstm.npz").unlink()
    with pytest.raises(BadModel, match="lacks"):
        Ensemble.load(tmp_path)


def test_a_manifest_cannot_reach_out_of_its_folder(ensemble: Ensemble, tmp_path: Path) -> None:
    ensemble.save(tmp_path / "model")
    file = tmp_path / "model/manifest.json"
    manifest = json.loads(file.read_text())
    (tmp_path / "secret.npz").write_bytes(b"")
    manifest["files"]["../secret.npz"] = "sha256:0"
    file.write_text(json.dumps(manifest))
    with pytest.raises(BadModel, match=r"\.\./secret\.npz"):
        Ensemble.load(tmp_path / "model")


def test_a_new_workload_abstains_by_name_where_history_is_short() -> None:
    windows = [daily(SHOP, 4, workload="shop/Deployment/old"), daily(SHOP, 1.5, workload="shop/Deployment/young")]
    members = Members.fit("prophet", windows)
    assert set(members.models) == {"shop/Deployment/old"}
    assert members.silent == {"shop/Deployment/young": "needs 2 days of history, has 36 h"}


def test_nobody_with_history_is_no_data() -> None:
    with pytest.raises(NoData, match="needs"):
        Ensemble.fit([daily(SHOP, 0.1)])
    with pytest.raises(NoData, match="no workload"):
        Ensemble.fit([])


def test_windows_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(BadRequest, match="differ in step"):
        Members.fit("arima", [daily(SHOP, 2), daily(SHOP, 2, step=300.0, workload="x")])
    with pytest.raises(BadRequest, match="twice"):
        Members.fit("arima", [daily(SHOP, 2), daily(SHOP, 2)])


def test_the_newest_fifth_is_held_back() -> None:
    window = daily(SHOP, 5)
    (training,), (held,) = split([window])
    assert len(training) == 4 * len(held)
    assert training.times[-1] < held.times[0]


def test_durations_are_spelt_as_people_say_them() -> None:
    assert [spell(s) for s in (30, 90, 6 * 3600, 2 * 86_400)] == ["30 s", "1.5 min", "6 h", "2 days"]
