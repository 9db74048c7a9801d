"""The kserve model: V1 and V2 answered by one ensemble, off the event loop."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import kserve
from kserve import InferRequest, InferResponse

from selfheal.errors import BadRequest
from selfheal.protocol import MODEL_NAME, Prediction, parse_instances, to_wire
from serving import metrics, tensors
from serving.mistakes import Mistake, NotLoaded

if TYPE_CHECKING:
    from selfheal.ensemble import Ensemble


class Predictor(kserve.Model):
    """Answers with whatever ensemble :meth:`serve` gave it last.

    A request takes the ensemble once, at its start, so a swap in between fails nobody: it ends with the old model.

    Args:
        name: Of the model in the URL.
        threads: How many requests compute at a time; as many as there are cores by default.
    """

    def __init__(self, name: str = MODEL_NAME, *, threads: int | None = None) -> None:
        super().__init__(name)
        self._ensemble: Ensemble | None = None
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="predict")

    @property
    def ensemble(self) -> Ensemble:
        """The one that answers now.

        Raises:
            NotLoaded: When none was loaded yet.
        """
        if self._ensemble is None:
            raise NotLoaded(self.name, "No model is loaded yet; the server's log says why.")
        return self._ensemble

    def serve(self, ensemble: Ensemble) -> None:
        """Answer with this ensemble from the next request on."""
        self._ensemble = ensemble
        # What lives until the next model need not be looked through while a big request makes its many lists.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self.ready = True
        metrics.model_loaded(ensemble.info)

    def load(self) -> bool:
        """For kserve, which calls it on a model that is not ready: loading is the loader's work."""
        return self.ready

    def start(self) -> None:
        """For kserve, which marks models as ready here; ours is when it has an ensemble."""

    async def predict(
        self,
        payload: object,
        _headers: Mapping[str, str] | None = None,
        _response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | InferResponse:
        """Answer one request.

        Args:
            payload: A V1 body as decoded JSON, or a V2 request (REST or gRPC).

        Returns:
            The V1 body, or the V2 response.

        Raises:
            Mistake: For what the client did wrong.
            NotLoaded: Without a model.
        """
        work = asyncio.get_running_loop().run_in_executor(self._pool, self.answer, payload)
        return await work

    def answer(self, payload: object) -> dict[str, Any] | InferResponse:
        """The same, in the calling thread."""
        ensemble = self.ensemble
        try:
            if isinstance(payload, InferRequest):
                windows = tensors.to_windows(payload, ensemble.names, ensemble.step)
                return tensors.to_response(payload, _counted(ensemble.judge(windows)), ensemble.info)
            return to_wire(_counted(ensemble.predict(parse_instances(payload))))
        except BadRequest as error:
            raise Mistake(str(error)) from None

    def describe(self) -> dict[str, Any]:
        """Model metadata: tensors as V2 has them, and what a client needs to build windows."""
        ensemble = self.ensemble
        info = ensemble.info
        return {
            "name": self.name,
            "versions": [info.version] if info.version else [],
            "platform": "selfheal",
            "inputs": self.get_input_types(),
            "outputs": self.get_output_types(),
            "parameters": {
                "metrics": list(ensemble.names),
                "step": ensemble.step,
                "workloads": len(ensemble.workloads),
                "run_id": info.run_id,
                "catalogue": info.catalogue,
            },
        }

    def get_input_types(self) -> list[dict[str, Any]]:
        """The V2 input tensors; metrics stand in the order of the last axis."""
        names = list(self._ensemble.names) if self._ensemble else []
        return [{**tensor, "shape": _shape(tensor, len(names))} for tensor in tensors.INPUTS]

    def get_output_types(self) -> list[dict[str, Any]]:
        """The V2 output tensors."""
        return [dict(tensor) for tensor in tensors.OUTPUTS]


def _counted(predictions: list[Prediction]) -> list[Prediction]:
    metrics.count_verdicts(predictions)
    return predictions


def _shape(tensor: Mapping[str, Any], width: int) -> list[int]:
    *rest, last = tensor["shape"]
    return [*rest, width if tensor["name"] in ("windows", "now") and width else last]
