# Every target sets up what it needs: `make demo` and `make test` work on a fresh clone.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# What `make train` trains on, how, and where its checkpoints go. For real work:
# make train DATA=dataset CONFIGS=configs RUNS=runs
DATA ?= demo/dataset
CONFIGS ?= configs/demo
RUNS ?= runs/demo

# What `make laptop` trains on: photos of people with alphas (none for RGBA cut-outs), and options of backgrounds, by
# default those of the embedded example; which photos it predicts; and the folder of all that comes out. Other options
# of `shm-data plan` go into PLAN.
INIMG ?=
INALP ?=
BACKGROUNDS ?=
PLAN ?= --numbg 4 --maxsize 800 --resize-alpha
PHOTOS ?=
LAPTOP ?= laptop

# How often `make torture` kills a job, and which times it draws: make torture KILLS=1000 SEED=1
KILLS ?= 200
SEED ?= 0

# Without bytecode every later start would be slow.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo train laptop app bench bench-train test dist-test coverage mutants torture lint format clean

install: $(INSTALLED)

# The last line compiles the loops over pixels, which takes some seconds, once.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	$(BIN)/python -c "import shm_data.pixels.kernels"
	touch $@

demo: install
	$(BIN)/shm-data demo demo

# The three stages, one after the other; each is resumed where it was stopped.
train: install $(filter demo/dataset/val.txt,$(DATA)/val.txt)
	$(BIN)/shm-model train $(CONFIGS)/pretrain_tnet.yaml data_root=$(DATA) savedir=$(RUNS)/tnet
	$(BIN)/shm-model train $(CONFIGS)/pretrain_mnet.yaml data_root=$(DATA) savedir=$(RUNS)/mnet
	$(BIN)/shm-model train $(CONFIGS)/end_to_end.yaml data_root=$(DATA) savedir=$(RUNS)/shm \
		tnet_checkpoint=$(RUNS)/tnet/last.pt mnet_checkpoint=$(RUNS)/mnet/last.pt
	$(BIN)/shm-model evaluate --checkpoint $(RUNS)/shm/last.pt --data $(DATA) --savedir $(RUNS)/report

# From your own photos to mattes: about ten minutes on two cores. Each step is resumed where it was stopped.
ifneq ($(filter laptop,$(MAKECMDGOALS)),)
$(if $(INIMG),,$(error make laptop: found no INIMG, expected INIMG=photos INALP=alphas))
endif

laptop: install $(if $(BACKGROUNDS),,demo/dataset/val.txt)
	@echo "1 of 6: the plan of the set, in some seconds -> $(LAPTOP)/plan"
	$(BIN)/shm-data plan --inimg "$(INIMG)" $(if $(INALP),--inalp "$(INALP)") \
		$(or $(BACKGROUNDS),--vocroot demo/sources/VOC2012) $(PLAN) --savedir $(LAPTOP)/plan
	@echo "2 of 6: T-Net, in about six minutes -> $(LAPTOP)/tnet/last.pt"
	$(BIN)/shm-model train configs/laptop/pretrain_tnet.yaml data_root=$(LAPTOP)/plan savedir=$(LAPTOP)/tnet
	@echo "3 of 6: M-Net, in about a minute -> $(LAPTOP)/mnet/last.pt"
	$(BIN)/shm-model train configs/laptop/pretrain_mnet.yaml data_root=$(LAPTOP)/plan savedir=$(LAPTOP)/mnet
	@echo "4 of 6: both together, in about two minutes -> $(LAPTOP)/shm/last.pt"
	$(BIN)/shm-model train configs/laptop/end_to_end.yaml data_root=$(LAPTOP)/plan savedir=$(LAPTOP)/shm \
		tnet_checkpoint=$(LAPTOP)/tnet/last.pt mnet_checkpoint=$(LAPTOP)/mnet/last.pt
	@echo "5 of 6: scores and pictures of the people in val -> $(LAPTOP)/report"
	$(BIN)/shm-model evaluate --checkpoint $(LAPTOP)/shm/last.pt --data $(LAPTOP)/plan --savedir $(LAPTOP)/report
	@echo "6 of 6: $(if $(PHOTOS),mattes of $(PHOTOS) -> $(LAPTOP)/mattes,no mattes: give photos with PHOTOS=folder)"
	$(if $(PHOTOS),$(BIN)/shm-model predict --checkpoint $(LAPTOP)/shm/last.pt "$(PHOTOS)" --savedir $(LAPTOP)/mattes)

demo/dataset/val.txt: | install
	$(MAKE) demo

# A page to try the trained networks on.
app: install $(RUNS)/shm/last.pt
	$(BIN)/shm-model app --checkpoint $(RUNS)/shm/last.pt

$(RUNS)/shm/last.pt: | install
	$(MAKE) train

# About ten minutes on two cores; `--all` measures every size and takes hours.
bench: install
	$(BIN)/python -m benchmarks.composite

bench-train: install
	$(BIN)/python benchmarks/train_step.py

# One process runs a whole file of tests, so that what its tests share is made once.
test: install
	$(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

# Builds wheel and sdist, and tries both in a new environment outside of this folder.
dist-test:
	PYTHON=$(PYTHON) tools/dist-test

# The same tests, and which lines they reach. Compiled loops and processes that tests start do not count.
coverage: install
	$(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder --cov --cov-report term:skip-covered

# Breaks the code line by line and fails where no test notices: some minutes on two cores.
mutants: install
	$(BIN)/python tests/mutants.py

# Longer versions of some tests, for about a quarter of an hour; see docs/reliability.md.
torture: install
	$(BIN)/python tests/torture.py --kills $(KILLS) --seed $(SEED)
	TORTURE=1 $(BIN)/pytest -s tests/test_torture.py tests/test_disk.py tests/test_memory.py tests/test_fuzz_*.py

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/mkdocs build --strict --quiet

# The pages and the reference from docstrings: build/site/index.html
docs: install
	$(BIN)/mkdocs build --strict

format: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) demo
