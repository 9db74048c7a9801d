from typing import BinaryIO

import pandas as pd

class Table:
    def to_pandas(self, *, use_threads: bool = ...) -> pd.DataFrame: ...

class ParquetFile:
    def __init__(self, source: BinaryIO, *, pre_buffer: bool = ...) -> None: ...
    def read(self, *, use_threads: bool = ...) -> Table: ...
