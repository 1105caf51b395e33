# Thin: everything is in CMake presets and scripts. See README.md.
BUILD := build/release

.PHONY: demo test build guests bench lint clean deps
demo: build guests
	scripts/demo.sh
test: build guests
	cd $(BUILD) && ctest --output-on-failure -j2
build: deps
	@test -f $(BUILD)/build.ninja || cmake --preset release
	cmake --build --preset release
deps:
	@scripts/install-deps.sh
guests: deps
	@scripts/fetch-guests.sh
bench: build guests
	@scripts/install-deps.sh bench
	bench/run.sh
lint:
	scripts/lint.sh
clean:
	rm -rf build
