from collections.abc import Callable
from typing import Any

from kfp.dsl import PipelineTask

class BaseComponent:
    pipeline_spec: Any
    python_func: Callable[..., Any]
    def __call__(self, **arguments: object) -> PipelineTask: ...
