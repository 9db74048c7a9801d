# The part of kserve 0.21 that serving/ uses; kserve ships no types of its own.
from kserve.model import Model as Model
from kserve.model_server import ModelServer as ModelServer
from kserve.protocol.infer_type import InferInput as InferInput
from kserve.protocol.infer_type import InferOutput as InferOutput
from kserve.protocol.infer_type import InferRequest as InferRequest
from kserve.protocol.infer_type import InferResponse as InferResponse
