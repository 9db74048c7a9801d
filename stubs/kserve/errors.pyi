class InvalidInput(ValueError):
    reason: str
    def __init__(self, reason: str) -> None: ...

class ModelNotFound(Exception):
    reason: str
    def __init__(self, model_name: str | None = ...) -> None: ...

class ModelNotReady(RuntimeError):
    model_name: str
    def __init__(self, model_name: str, detail: str | None = ...) -> None: ...

class ServerNotReady(RuntimeError):
    def __init__(self, detail: str | None = ...) -> None: ...
