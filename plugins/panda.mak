# What a Makefile in plugins/NAME/ includes as ../panda.mak: the kit of the build tree, or of PANDA_BUILD.
PANDA_BUILD ?= $(dir $(lastword $(MAKEFILE_LIST)))../build/release
ifeq ($(wildcard $(PANDA_BUILD)/share/panda/panda.mak),)
$(error $(PANDA_BUILD) is not a build of PANDA: run `make build`, or set PANDA_BUILD)
endif
include $(PANDA_BUILD)/share/panda/panda.mak
