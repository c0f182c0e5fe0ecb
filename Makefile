# Needs Go and git. Tools come through `go tool`; generated code is committed.
GO       ?= go
PACKAGES := ./...
TOOL     := $(GO) tool -modfile=$(CURDIR)/tools/go.mod
# A pattern program is a folder with a main.go; it is built beside its manifest.
PROGRAMS := $(patsubst patterns/%/main.go,%,$(wildcard patterns/*/main.go))
# The binaries say which commit they are of, whatever GOFLAGS says; without git,
# or outside of a clone, they cannot.
STAMP    := $(if $(shell git rev-parse HEAD 2>/dev/null),-buildvcs=true)
# Static binaries run in any container, and their fork copies less.
BUILD    := CGO_ENABLED=0 $(GO) build -trimpath $(STAMP)
BIN      ?= bin/
# The race detector needs a C compiler. By default each process that it is in takes
# a second more to exit, and tests start many.
RACE     := $(if $(shell command -v $$($(GO) env CC)),-race)
# How long `make fuzz` takes, all fuzz targets together, in seconds.
FUZZTIME ?= 60

# What test-vm runs: packages' tests, and a program with its arguments, under
# Debian's kernel. docs/VM.md says more.
VM_PACKAGES ?= ./sentinel
VM_PROGRAM  ?= ./bench/detect -size 0,64,256 -load idle -n 50 -row-limit 15s
VM_ACCEL    ?= kvm
VM_FLAGS    ?=

.PHONY: build programs demo test test-vm findings lint tidy fuzz bench benchmarks proto clean

build: programs
	$(BUILD) -o $(BIN) ./cmd/understudyd ./cmd/understudy

programs:
	$(foreach p,$(PROGRAMS),$(BUILD) -o patterns/$(p)/$(p) ./patterns/$(p) &&) true

demo: build
	$(GO) run ./bench/demo

test: export GORACE ?= atexit_sleep_ms=20
test:
	$(if $(RACE),,@echo "no C compiler is found: testing without the race detector" >&2)
	$(GO) test $(RACE) -timeout 15m $(PACKAGES)
	$(GO) test $(RACE) -timeout 15m -tags faults -run Fault ./internal/fault ./takeover ./supervisor

test-vm:
	$(GO) run ./bench/vm -accel $(VM_ACCEL) -program '$(VM_PROGRAM)' $(VM_FLAGS) $(VM_PACKAGES)

# What other programs do; needs the network (findings/README.md).
findings:
	@for f in findings/*.sh; do echo "== $$f"; $$f || exit; done

# tools/ is not checked by `go mod tidy`: it resolves what the tools' own tests
# import to the newest versions of the day.
lint:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted by gofmt:" $$unformatted >&2; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet $(PACKAGES)
	$(TOOL) staticcheck $(PACKAGES)
	$(GO) test -count=1 ./internal/layers ./internal/docs

tidy:
	$(GO) mod tidy

fuzz:
	GO='$(GO)' tools/fuzz $(FUZZTIME)

bench: build
	$(GO) run ./bench/failover

# Measures every section of BENCHMARKS anew; takes long, and wants the machine alone.
benchmarks:
	@sed -n 's/^<!-- \(go run .*\) -->$$/\1/p' docs/BENCHMARKS.md | while read -r c; do \
		echo "$$c"; $$c -report docs/BENCHMARKS.md </dev/null || exit; done

proto:
	$(TOOL) buf generate
	@unformatted=$$(gofmt -l proto patterns); test -z "$$unformatted" || { echo "not formatted by gofmt:" $$unformatted >&2; exit 1; }

clean:
	rm -rf bin bench/out
	rm -f $(foreach p,$(PROGRAMS),patterns/$(p)/$(p))
