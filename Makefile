# Thin: everything is in CMake presets and scripts. See README.md.
BUILD := build/release
FUZZ_SECONDS ?= 600

.PHONY: demo test build configure guests bench bench-plugins fidelity fuzz userland lint clean deps
demo: build guests
	scripts/demo.sh
test: configure guests
	cmake --build --preset release
	cd $(BUILD) && ctest --output-on-failure -j2
build: configure
	cmake --build --preset release --target product
configure: deps
	@test -f $(BUILD)/build.ninja || cmake --preset release
deps:
	@scripts/install-deps.sh
guests: deps
	@scripts/fetch-guests.sh
bench: build guests
	@scripts/install-deps.sh bench
	bench/run.sh
	@$(MAKE) bench-plugins
bench-plugins: build guests
	cmake --build --preset release --target bench_plugin_x86_64 pandalog_bench
	bench/plugins.py
userland: build guests
	@scripts/install-deps.sh userland
	scripts/make-userland.sh amd64 build/userland/amd64
	scripts/make-userland.sh i386 build/userland/i386
	cd $(BUILD) && ctest --output-on-failure -C userland -R guest_userland
fidelity: configure
	cmake --build --preset release --target insn_test unicorn_test fault_test prefix_test vex_test sequence_test x87_test flow_test
	scripts/fidelity.py $(BUILD) >docs/fidelity.md.new && mv docs/fidelity.md.new docs/fidelity.md
fuzz: deps
	@scripts/install-deps.sh fuzz
	cmake --preset fuzz
	cmake --build --preset fuzz
	mkdir -p build/fuzz/corpus
	build/fuzz/bin/translation_fuzzer -max_total_time=$(FUZZ_SECONDS) -max_len=72 -len_control=0 -artifact_prefix=build/fuzz/ build/fuzz/corpus
lint:
	scripts/lint.sh
clean:
	rm -rf build
