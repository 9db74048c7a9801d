"""The loader with a source whose contents the test decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from selfheal.errors import BadModel, NoData
from selfheal.protocol import ModelInfo
from serving.loader import Loader


@dataclass
class Model:
    """Stands for an ensemble; a broken one cannot answer."""

    broken: bool = False
    names: tuple[str, ...] = ("cpu",)
    workloads: tuple[str, ...] = ()
    step: float = 60.0
    info: ModelInfo = field(default_factory=ModelInfo)
    asked: int = 0

    def predict(self, instances: list[Any]) -> list[Any]:
        self.asked += len(instances)
        if self.broken:
            raise ValueError("shapes do not fit")
        return []


@dataclass
class Place:
    """A source."""

    versions: list[str]
    model: Model
    loads: int = 0

    def version(self) -> str:
        if not self.versions:
            raise NoData("nothing here")
        return self.versions.pop(0) if len(self.versions) > 1 else self.versions[0]

    def load(self) -> Any:
        self.loads += 1
        return self.model


def test_a_model_has_answered_once_before_it_is_served() -> None:
    served: list[Any] = []
    place = Place(["1"], Model())
    assert Loader(place, served.append, every=0).refresh()
    assert served == [place.model]
    assert place.model.asked == 1


def test_the_same_version_is_not_loaded_again() -> None:
    served: list[Any] = []
    place = Place(["1"], Model())
    loader = Loader(place, served.append, every=0)
    loader.refresh()
    assert not loader.refresh()
    assert (place.loads, len(served)) == (1, 1)


def test_a_model_that_cannot_answer_is_never_served() -> None:
    served: list[Any] = []
    with pytest.raises(BadModel, match="shapes do not fit"):
        Loader(Place(["1"], Model(broken=True)), served.append, every=0).refresh()
    assert served == []


def test_a_model_that_fails_on_real_samples_only_is_never_served() -> None:
    """Gaps make every detector abstain: a warm-up without numbers would find nothing."""

    class Hollow(Model):
        def predict(self, instances: list[Any]) -> list[Any]:
            if any(value is not None for one in instances for value in one.window["cpu"]):
                raise BadModel("the model lacks an array")
            return []

    served: list[Any] = []
    with pytest.raises(BadModel, match="lacks an array"):
        Loader(Place(["1"], Hollow(workloads=("shop/Deployment/cart",))), served.append, every=0).refresh()
    assert served == []


def test_a_model_that_changed_while_it_was_read_is_not_served() -> None:
    served: list[Any] = []
    loader = Loader(Place(["1", "2"], Model()), served.append, every=0)
    with pytest.raises(BadModel, match="changed while it was read"):
        loader.refresh()
    assert served == []
    assert loader.refresh()


def test_an_empty_place_says_so() -> None:
    with pytest.raises(NoData):
        Loader(Place([], Model()), lambda _: None, every=0).refresh()
