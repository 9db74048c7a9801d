# What this project uses of kfp, which ships without types.
from kfp import compiler as compiler
from kfp import dsl as dsl
from kfp import kubernetes as kubernetes
from kfp import local as local
from kfp.client import Client as Client
