# The commands of developers. `make` without a target lists them.

# The release that this tree is; contract/version.go defines it. Other builds are named by their commit.
RELEASE   := $(shell sed -n 's/^const Release = "\(.*\)"$$/\1/p' contract/version.go)
VERSION   ?= dev$(shell git describe --always --exclude '*' --dirty 2>/dev/null | sed 's/^/-/')
IMAGE     ?= ghcr.io/tapedeck/tapedeck
PLATFORMS ?= linux/$(shell go env GOARCH)

export CGO_ENABLED = 0
comma   := ,
targets := $(subst $(comma), ,$(PLATFORMS))
gobuild  = go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)"
# Separate modules keep their dependencies out of the users' dependency graph.
nested  := $(patsubst %/go.mod,%,$(wildcard tools/go.mod e2e/go.mod e2e/*/go.mod))
# The race detector is C, so it needs a C compiler. By default, each process waits a second for further
# races when it ends, and tests start hundreds of processes. Without the detector, tests mostly wait, so
# twice as many packages as processors run at a time.
gotest  := $(if $(race),CGO_ENABLED=1 GORACE="atexit_sleep_ms=20 $$GORACE" go test -race,go test -p $(shell expr 2 '*' $$(getconf _NPROCESSORS_ONLN)))

.DEFAULT_GOAL := help
.PHONY: help build demo test e2e bench image release plugin fmt generate check mutants lint clean FORCE

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/tapedeck and bin/tapedeck-proxy, the sidecar alone; both are static.
	$(gobuild) -o bin/ ./cmd/tapedeck ./cmd/tapedeck-proxy

demo: build ## Render the example, run it with its sidecar on loopback, and show what was captured.
	@go run ./examples/shop/demo

# `make lint` has vetted the packages, with more checks.
test: ## Run every test of the module; needs Go alone. With race=1, as in CI, the race detector watches.
	$(gotest) -vet=off ./...

# With -trimpath the tests share the packages that istioctl was built from.
# Istio's control plane logs every push, so its tests print only failures.
# DuckDB is C++, so its tests need a C++ compiler.
e2e: ## Run the binary and the image under the real kustomize, kpt, Helm 3, Helm 4 and istioctl, real traffic through it, DuckDB on what it records, and Chromium on the pages that it writes.
	go -C e2e run ./cmd/tools
	for module in $(filter e2e%,$(nested)); do \
	  v=-v cgo=0; \
	  case $$module in e2e/istio) v=;; e2e/duckdb) cgo=1;; esac; \
	  CGO_ENABLED=$$cgo go -C $$module test -trimpath -vet=off $$v -count=1 -timeout 60m ./... || exit; \
	done

bench: build ## Measure rendering, the sidecar, recordings, the mock, replay and the collector beside other programs, as ratios.
	go -C e2e run ./cmd/bench ../bin/tapedeck
	go -C e2e run ./cmd/benchproxy ../bin/tapedeck-proxy
	go -C e2e run ./cmd/benchrecording ../bin/tapedeck
	go -C e2e run ./cmd/benchmock ../bin/tapedeck
	go -C e2e run ./cmd/benchreplay ../bin/tapedeck
	go -C e2e run ./cmd/benchcollect ../bin/tapedeck

image: $(targets:%=dist/%) ## Build the image; PLATFORMS=linux/amd64,linux/arm64 writes dist/tapedeck-oci.tar.
ifeq ($(PLATFORMS),linux/$(shell go env GOARCH))
	docker build --build-arg TARGETARCH=$(notdir $(PLATFORMS)) --build-arg VERSION=$(VERSION) \
	  --tag $(IMAGE):$(VERSION) --tag $(IMAGE):latest .
else
	$(pack) -version $(VERSION) -image $(CURDIR)/dist/tapedeck-oci.tar -platforms $(PLATFORMS) $(CURDIR)/dist
endif

# The commit's time is that of all files.
pack = go -C tools run ./release -time $${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)}

# The image's root file system. kustomize and kpt run functions as nobody, by
# name; the sidecar runs as 2102. Any other user may read and run it too.
dist/linux/%: FORCE
	mkdir -p $@/etc
	GOOS=linux GOARCH=$* $(gobuild) -o $@/ ./cmd/tapedeck ./cmd/tapedeck-proxy
	printf '%s\n' 'nobody:x:65534:65534:nobody:/:' 'tapedeck:x:2102:2102:tapedeck:/:' > $@/etc/passwd
	printf '%s\n' 'nobody:x:65534:' 'tapedeck:x:2102:' > $@/etc/group
	chmod -R a+rX $@

# The programs are linked without the state of the work tree, so that equal sources give
# equal bytes.
release: VERSION := $(RELEASE)
release: export GOFLAGS := -buildvcs=false
release: dist/linux/amd64 dist/linux/arm64 dist/darwin/amd64 dist/darwin/arm64 ## Build what a release publishes, under dist/release, with checksums; two runs give the same bytes.
	@tags=$$(git tag --points-at HEAD --list 'v*'); case "$$tags" in ''|*$(RELEASE)*) ;; \
	  *) echo "the tag is $$tags, and contract/version.go defines $(RELEASE): tag the commit of that version" >&2; exit 1;; esac
	$(pack) -version $(RELEASE) $(CURDIR)/dist

dist/darwin/%: FORCE
	mkdir -p $@
	GOOS=darwin GOARCH=$* $(gobuild) -o $@/ ./cmd/tapedeck ./cmd/tapedeck-proxy

plugin: build ## Put the binary into plugin/, ready for `helm plugin install ./plugin` (Helm 4).
	mkdir -p plugin/bin
	cp bin/tapedeck plugin/bin/tapedeck

fmt: ## Format the Go code.
	gofmt -w $$(git ls-files '*.go')

# The packages whose tests write goldens or pages of docs.
golden = $(sort $(dir $(shell git grep -l 'flag.Bool..update' -- '*_test.go' ':!e2e')))

generate: ## Write all goldens, schemas and pages that come from the code; `git diff` then shows what changed.
	go test -vet=off -count=1 -p 1 $(patsubst %/,./%,$(golden)) -update

# What changed since main: the packages with Go files of their own or with testdata.
base    = $(shell git merge-base HEAD origin/main 2>/dev/null || git merge-base HEAD main 2>/dev/null || echo HEAD)
changed = $(shell { git diff --name-only --diff-filter=d $(base); git ls-files --others --exclude-standard; } \
  | grep -vE '^(e2e|tools)/' | sed -nE 's,/testdata/.*,/x,; s,^(.+)/[^/]+$$,./\1,p' | sort -u)

check: ## Check what changed since main in less than a minute: format, vet, and the short tests of the packages that changed.
	@test -z "$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go') | tee /dev/stderr)"
	go vet ./...
	go test -vet=off -short ./docs $$(for dir in $(changed); do ls $$dir/*.go >/dev/null 2>&1 && echo $$dir; done)

# It leaves out the folders below the package, and has one worker: a mutant is killed by a
# test that fails, and under load a test may also run out of time.
mutants: ## Change the code of one package, one place at a time, and list what its tests don't notice: make mutants package=./match
	go tool -modfile=tools/go.mod gremlins unleash --workers 1 --timeout-coefficient 60 --exclude-files / $(package)

# Vetting e2e/istio and e2e/pod would analyse the 1,800 packages of Istio's control plane,
# and e2e/duckdb takes a C compiler.
# The renderer, and every test, also runs on the machines that engineers have.
lint: ## Vet the Go code, for Linux and macOS, run staticcheck and govulncheck, and fail on what gofmt would change.
	GOOS=darwin go vet ./...
	for module in . $(filter-out e2e/duckdb e2e/istio e2e/pod,$(nested)); do go -C $$module vet ./... || exit; done
	@test -z "$$(gofmt -l $$(git ls-files '*.go') | tee /dev/stderr)"
	go tool -modfile=tools/go.mod staticcheck ./...
	@tools/govulncheck

clean: ## Remove what the targets built.
	rm -rf bin dist plugin/bin
