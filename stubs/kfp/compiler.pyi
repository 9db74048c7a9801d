from typing import Any

class Compiler:
    def compile(self, pipeline_func: Any, package_path: str) -> None: ...
