.PHONY: images
images: install  ## build the container images with podman and give them to the bench (root; ONLY=controller): prints their names
	@$(PY) -m bench images $(foreach one,$(if $(filter command line,$(origin ONLY)),$(ONLY)),--only $(one))

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

.PHONY: install-in-cluster
install-in-cluster: install  ## the whole product in the node bench as pods: images, MLflow, chart, training, endpoint, controller (root)
	@$(PY) -m bench.incluster deploy

.PHONY: heal-in-cluster
heal-in-cluster: install  ## break the shop in the demo's three ways, healed by the product's pods (after install-in-cluster)
	@$(PY) -m bench.incluster heal

.PHONY: argocd
argocd: install  ## Argo CD beside the cluster of .bench; a repository is the file:// URL of a bare clone
	@$(PY) -m bench.argocd up

.PHONY: kserve
kserve: install  ## KServe's controller beside the node bench in .bench: InferenceServices become Deployments and answer
	@$(PY) -m bench.kserve up

.PHONY: deploy
deploy: install  ## the whole product on the running node bench: shop, history, training, endpoint, controller
	@$(PY) -m bench.product deploy

.PHONY: undeploy
undeploy: install  ## take the product off the bench, leave cluster and shop
	@$(PY) -m bench.product undeploy

# ---- how fast it is --------------------------------------------------------------------------------------------------
.PHONY: bench-train
bench-train: install  ## training beside the naive method: one workload, WORKLOADS (20) at once, memory
	@OMP_NUM_THREADS=1 $(PY) -m bench.speed train --workloads $(or $(WORKLOADS),20)

.PHONY: bench-serve
bench-serve: install  ## a real endpoint over HTTP: one workload, WORKLOADS (1000) in one request, memory, start
	@OMP_NUM_THREADS=1 $(PY) -m bench.speed serve --workloads $(or $(WORKLOADS),1000)

.PHONY: bench-fuzz
bench-fuzz: install  ## REQUESTS (10000) broken requests at a real endpoint: no 5xx, no hang, no growth (SEED=0)
	@$(PY) -m bench.fuzz --requests $(or $(REQUESTS),10000) --seed $(or $(SEED),0)

# ---- is every heal right ---------------------------------------------------------------------------------------------
.PHONY: scenarios
scenarios: install  ## break a cluster in every way of the catalogue, judged from outside (ONLY=1,6 TIER=api RUNS=1)
	@$(PY) -m bench.scenarios $(if $(ONLY),--only $(ONLY)) $(if $(filter command line,$(origin TIER)),--tier $(TIER)) --runs $(or $(RUNS),1)

.PHONY: bench-controller
bench-controller: install  ## the controller with 100 and 1,000 workloads: its cost, time to a Remediation (SIZES=100,1000)
	@OMP_NUM_THREADS=1 $(PY) -m bench.controller scale $(if $(SIZES),--sizes $(SIZES))

.PHONY: kill-table
kill-table: install  ## kill -9 before and after every request of a heal (PLOT=rollback EVERY=1); all of it takes two hours
	@$(PY) -m bench.killtable $(if $(PLOT),--plot $(PLOT)) --every $(or $(EVERY),1)

.PHONY: fields
fields: install  ## every field of the custom resources, and the test that fails when it is ignored
	@$(PY) -m bench.lists fields

.PHONY: can-i
can-i: install  ## what a real API server lets the controller do, and the triples that it must refuse
	@$(PY) -m bench.lists can-i

.PHONY: healthy-day
healthy-day: install  ## a healthy day in MINUTES (10): rollouts, swings, jobs, gaps, restarts; the controller may change nothing
	@OMP_NUM_THREADS=1 $(PY) -m bench.controller day --minutes $(or $(MINUTES),10)

.PHONY: soak
soak: install  ## MINUTES (30) of random faults, kills and outages: nothing lost, nothing twice, memory flat (SEED=0)
	@$(PY) -m bench.controller soak --minutes $(or $(MINUTES),30) --seed $(or $(SEED),0)

# ---- what ships ------------------------------------------------------------------------------------------------------
.PHONY: scan
scan: install  ## checkov on chart and manifests; every finding has its answer in docs/security.md
	@$(PY) -m bench.scan manifests

.PHONY: audit
audit: install  ## pip-audit on the locked packages of every image; ends with 3 where nobody could be asked
	@$(PY) -m bench.scan packages

.PHONY: sbom
sbom: install  ## the packages of every image as CycloneDX, in dist/sbom
	@$(PY) -m bench.scan sbom
