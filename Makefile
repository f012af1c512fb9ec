# SPDX-License-Identifier: MIT OR Apache-2.0
#
# The front door; what is behind it is scripts/xtask.

XDG_CACHE_HOME ?= $(HOME)/.cache
RUST_VIRTIO_CACHE ?= $(XDG_CACHE_HOME)/rust-virtio
export RUST_VIRTIO_CACHE DEBIAN_MIRROR
# Outside the checkout, which stays clean.
export CARGO_TARGET_DIR := $(RUST_VIRTIO_CACHE)/cargo-target

program := $(CARGO_TARGET_DIR)/debug/xtask
xtask := '$(program)' --repo '$(CURDIR)' \
	$(if $(KERNEL_TREE),--kernel-tree '$(KERNEL_TREE)') $(if $(JOBS),--jobs $(JOBS))

.PHONY: help run test bench hostile fuzz patches check-patches send-test matrix shell doctor build clean tool
.NOTPARALLEL:

help:
	@echo 'make run      boot Linux with the series and show what the drivers do'
	@echo 'make test     run all tests; ONLY=text: those whose name contains it'
	@echo 'make bench    how fast the drivers are, Rust by C; BENCH=rng,queue,blk: some of'
	@echo '              them; QUICK=1: for a shorter time; PROFILE=1: in which functions'
	@echo 'make hostile  devices that lie, to the drivers in C and in Rust; CASE=name or file,'
	@echo '              DRIVER=c|rust, RING=split|packed; BRIEF=1: what runs each time;'
	@echo '              MUTANTS=1: whether the lab finds mistakes'
	@echo 'make fuzz     lies by chance; MINUTES=5, SEED=1, DEVICE=rng|blk: only that one,'
	@echo '              DRIVER=rust|c'
	@echo 'make patches  out/patches: the series as mails. V=2: the second posting;'
	@echo '              SINCE=commit: with a range-diff to what that commit has;'
	@echo '              SIGNOFF=1: you have read all of it, and sign it off'
	@echo 'make check-patches  apply, check and build the series, patch by patch;'
	@echo '              AGAIN=1: also what was good before'
	@echo 'make send-test mail the patches to a server of our own, apply what arrives'
	@echo 'make matrix   other compilers, configurations, machines: hours; the results are'
	@echo '              kept; ONLY=text: some cells, AGAIN=1: those with results, too'
	@echo 'make shell    an interactive guest; VARIANT=x86_64, uml, uml-debug, uml-smp, arm64-boot'
	@echo 'make doctor   find or install every tool that is needed'
	@echo 'make build    build the kernels; VARIANT=...: these only, also uml-smp,'
	@echo '              arm64-boot; arm64, riscv64, lint: just our objects'
	@echo 'make clean    remove what was built; ALL=1: downloads and tools, too'
	@echo
	@echo 'KERNEL_TREE=/path     your own source, Linux 7.3 or later'
	@echo 'JOBS=n                compilers at once'
	@echo 'DEBIAN_MIRROR=http://...  for a machine that is not Debian'
	@echo 'RUST_VIRTIO_CACHE=dir where all is kept, now $(RUST_VIRTIO_CACHE)'
	@echo 'Stages one by one:    $(program) --help'

run doctor: tool
	@$(xtask) $@

test: tool
	@$(xtask) test $(if $(ONLY),'$(ONLY)')

bench: tool
	@$(xtask) $@ $(if $(BENCH),--only '$(BENCH)') $(if $(filter 1,$(QUICK)),--quick) \
		$(if $(filter 1,$(PROFILE)),--profile)

hostile: tool
	@$(xtask) $@ $(if $(CASE),--case '$(CASE)') $(if $(DRIVER),--driver '$(DRIVER)') \
		$(if $(RING),--ring '$(RING)') $(if $(filter 1,$(BRIEF)),--brief) \
		$(if $(filter 1,$(MUTANTS)),--mutants)

fuzz: tool
	@$(xtask) $@ $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(SEED),--seed '$(SEED)') \
		$(if $(DEVICE),--device '$(DEVICE)') $(if $(DRIVER),--driver '$(DRIVER)')

patches: tool
	@$(xtask) patches $(if $(V),--posting '$(V)') $(if $(filter 1,$(SIGNOFF)),--signoff) \
		$(if $(SINCE),--since '$(SINCE)')

send-test: patches
	@$(xtask) $@

check-patches: tool
	@$(xtask) check-patches $(if $(AGAIN),--again)

matrix: tool
	@$(xtask) matrix $(if $(ONLY),'$(ONLY)') $(if $(AGAIN),--again)

shell build: tool
	@$(xtask) $@ $(VARIANT)

clean: tool
	@$(xtask) clean $(if $(ALL),--all)

# Speaks only if there is something to build for the first time, or to complain.
tool:
	@command -v cargo >/dev/null || scripts/bootstrap.sh
	@cargo build $(if $(wildcard $(program)),--quiet) --locked --package xtask \
		--manifest-path scripts/Cargo.toml
