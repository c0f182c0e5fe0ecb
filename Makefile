# Needs Go and git. Tools come through `go tool`, generated code is committed.
GO      ?= go
TOOL    := $(GO) tool -modfile=tools/go.mod
# A pattern program is a folder with a main.go; it is built beside its manifest.
PROGRAMS := $(patsubst patterns/%/main.go,%,$(wildcard patterns/*/main.go))
# Static binaries: they run in any container, and a fork copies less.
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath
# The race detector needs a C compiler.
RACE    := $(if $(shell command -v $$($(GO) env CC)),-race)

# What test-vm runs: packages' tests, and a program with its arguments, under
# Debian's kernel. docs/VM.md says more.
VM_PACKAGES ?= ./sentinel
VM_PROGRAM  ?= ./bench/detect -size 0,64,256 -load idle -n 50 -row-limit 15s
VM_ACCEL    ?= kvm
VM_FLAGS    ?=

.PHONY: build programs demo test test-vm lint bench proto clean

build: programs
	$(BUILD) -o bin/ ./cmd/understudyd ./cmd/understudy

programs:
	$(foreach p,$(PROGRAMS),$(BUILD) -o patterns/$(p)/$(p) ./patterns/$(p) &&) true

demo: build
	$(GO) run ./bench/demo

test:
	$(if $(RACE),,@echo "no C compiler is found: testing without the race detector" >&2)
	$(GO) test $(RACE) -timeout 15m ./...

test-vm:
	$(GO) run ./bench/vm -accel $(VM_ACCEL) -program '$(VM_PROGRAM)' $(VM_FLAGS) $(VM_PACKAGES)

lint:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted by gofmt:" $$unformatted >&2; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	$(GO) test ./internal/floors

bench: build
	$(GO) run ./bench/failover

proto:
	$(TOOL) buf generate
	@unformatted=$$(gofmt -l proto patterns); test -z "$$unformatted" || { echo "not formatted by gofmt:" $$unformatted >&2; exit 1; }

clean:
	rm -rf bin bench/out
	rm -f $(foreach p,$(PROGRAMS),patterns/$(p)/$(p))
