# ---- a cluster to try it on ------------------------------------------------------------------------------------------
.PHONY: up
up: install  ## start a cluster in .bench (TIER=node: real kubelet, root; api: simulated pods; current: check yours)
	@$(PY) -m bench up --tier $(TIER)

.PHONY: down
down: install  ## end the cluster of .bench and leave the machine as it was
	@$(PY) -m bench down --tier $(TIER)

.PHONY: status
status: install  ## what of the cluster in .bench runs, and where
	@$(PY) -m bench status --tier $(TIER)

.PHONY: deploy
deploy: install  ## the whole product on the running node bench: shop, history, training, endpoint, controller
	@$(PY) -m bench.product deploy

.PHONY: undeploy
undeploy: install  ## take the product off the bench, leave cluster and shop
	@$(PY) -m bench.product undeploy
