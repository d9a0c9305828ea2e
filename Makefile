# Kurir. Every target is a plain command one could type; `make help` lists them.
# There is no root module: `work` names all modules of the workspace at once.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := check

BIN      := $(CURDIR)/.bin
# Built tools outlive the checkout; a changed go.sum is another directory.
CACHE    ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kurir
MODULES   = $(shell go list -m -f '{{.Dir}}')
FUZZTIME ?= 30s
# FUZZ limits `make fuzz` to the targets whose package or name matches.
FUZZ     ?= .

##@ Before a commit

.PHONY: check
check: fmt-check vet lint test standalone proto-check tidy-check verify-work ## everything a change must pass (the default)

.PHONY: fmt
fmt: $(BIN)/golangci-lint ## format all Go code
	$(BIN)/golangci-lint fmt

.PHONY: fmt-check
fmt-check: $(BIN)/golangci-lint ## say what is not formatted
	$(BIN)/golangci-lint fmt --diff

.PHONY: vet
vet: ## go vet, all modules
	go vet work

.PHONY: lint
lint: $(BIN)/golangci-lint ## golangci-lint, all modules
	go list -m -f '{{.Dir}}/...' | xargs $(BIN)/golangci-lint run

##@ Tests

.PHONY: test
test: ## all tests
	go test work

.PHONY: test-race
test-race: ## kit and the services, shuffled, with the race detector
	go test -race -shuffle=on kurir.dev/kit/... kurir.dev/services/...

.PHONY: e2e
e2e: ## the scenarios, all services in one process
	go test -count=1 kurir.dev/e2e/...

.PHONY: e2e-procs
e2e-procs: ## the scenarios, each service a process of its own
	go test -count=1 -timeout=20m kurir.dev/e2e -runner=processes

# One process of tests after another: tests that do something to their broker
# have a Kafka of their own.
.PHONY: test-kafka
test-kafka: $(if $(KAFKA_HOME),,$(BIN)/kafka) ## contract tests, scenarios, short chaos and lane benchmark on Apache Kafka
	echo 'left out:'; grep -v '^#' .ci/embedded-only
	skip="^($$(awk '!/^#/ {print $$1}' .ci/embedded-only | paste -sd'|'))$$"; \
	go test -count=1 -p=1 -timeout=20m kurir.dev/kit/broker kurir.dev/kit/custody kurir.dev/kit/broker/brokertest/apache -skip="$$skip" -broker=apache; \
	go test -count=1 -timeout=30m kurir.dev/e2e -runner=processes -skip="$$skip" -broker=apache
	go test -count=1 -timeout=15m -v kurir.dev/e2e/chaos -run='^TestChaos$$' -broker=apache $(CHAOS_SHORT)
	go run kurir.dev/kit/broker/brokertest/apache/with go run kurir.dev/bench -only=otp -rounds=1 -backlog=5000 -brokers={}

# Sizes of the chaos suites. SEED repeats a run, 0 makes a new one.
SEED        ?= 0
CHAOS_SHORT  = -kills=20 -mails=2000 -seed=$(SEED)
CHAOS        = -kills=200 -mails=6000 -seed=$(SEED)

.PHONY: chaos
chaos: ## every mail judged after 200 kills, zombies and cut wires; SEED=7 repeats a run
	go test -count=1 -timeout=60m -v kurir.dev/e2e/chaos -run='^TestChaos$$' $(CHAOS)

.PHONY: chaos-short
chaos-short: ## the same with 20 kills, in three minutes at most
	go test -count=1 -timeout=15m -v kurir.dev/e2e/chaos -run='^TestChaos$$' $(CHAOS_SHORT)

.PHONY: kafka
kafka: $(BIN)/kafka ## obtain the pinned Apache Kafka for the tests (needs Maven and Java 17)

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME; FUZZ=mailaddr picks some
	FUZZTIME=$(FUZZTIME) FUZZ='$(FUZZ)' .ci/fuzz

.PHONY: bench
bench: ## the mesh measured beside its targets; BENCH='-only otp -json out.json' has flags
	go run ./bench $(BENCH)

.PHONY: bench-go
bench-go: ## all Go benchmarks
	go test -run='^$$' -bench=. -benchmem work

.PHONY: cover
cover: ## coverage of kit and the services, as cover.html
	go test -coverprofile=cover.prof kurir.dev/kit/... kurir.dev/services/...
	go tool cover -html=cover.prof -o cover.html

##@ Interfaces and modules

.PHONY: gen
gen: $(BIN)/buf ## generate proto/gen, docs/errors.md and docs/config
	PATH=$(BIN):$$PATH buf generate
	go test kurir.dev/e2e/deploy -run='^Test(ErrorDoc|Config)$$' -update

.PHONY: proto-check
proto-check: $(BIN)/buf ## lint, format, compatibility and freshness of proto/
	PATH=$(BIN):$$PATH buf lint
	PATH=$(BIN):$$PATH buf format --diff --exit-code --path proto/kurir
	PATH=$(BIN):$$PATH buf breaking --against proto/baseline.binpb
	tmp=$$(mktemp -d); trap "rm -rf $$tmp" EXIT; \
	PATH=$(BIN):$$PATH buf generate -o $$tmp && diff -r $$tmp/proto/gen proto/gen

.PHONY: proto-release
proto-release: $(BIN)/buf ## make today's interfaces the baseline of `buf breaking`
	PATH=$(BIN):$$PATH buf build -o proto/baseline.binpb

.PHONY: tidy
tidy: ## go mod tidy, each module
	for m in $(MODULES); do (cd $$m && go mod tidy); done

.PHONY: tidy-check
tidy-check: ## say which go.mod is not tidy
	for m in $(MODULES); do (cd $$m && go mod tidy -diff) || exit 1; done

.PHONY: deps
deps: ## newest minor versions of every dependency, in all modules alike
	for m in $(MODULES); do (cd $$m && go get -u ./...); done
	go work sync
	$(MAKE) tidy standalone

.PHONY: standalone
standalone: ## build and vet each module without the workspace
	for m in $(MODULES); do (cd $$m && GOWORK=off go build ./... && GOWORK=off go vet ./...) || exit 1; done

.PHONY: verify-work
verify-work: ## go.work names every module but the tools, and versions agree
	diff go.work <(printf 'go 1.26.0\n\nuse (\n'; git ls-files '*go.mod' | grep -v ^tools/ | xargs -n1 dirname | sort | sed 's|.*|\t./&|'; echo ')')
	! git ls-files '*go.mod' | grep -v ^tools/ | xargs sed -nE 's|^\t([^ ]+) (v[^ ]+)$$|\1 \2|p' | sort -u | awk '{print $$1}' | uniq -d | grep .

##@ Running

.PHONY: build
build: ## kurir and the four daemons into .bin
	go build -o $(BIN)/ kurir.dev/cmd/kurir kurir.dev/services/{composer/cmd/composerd,router/cmd/routerd,dispatcher/cmd/dispatcherd,tracker/cmd/trackerd}

.PHONY: run
run: ## everything in one process, data under ./kurir-data
	go run ./cmd/kurir up

.PHONY: demo
demo: ## a short tour: three kinds of mail, a flood, an OTP passing it
	go run ./cmd/kurir demo

.PHONY: up
up: ## the Kubernetes deployment, rebuilt on every change (needs Tilt and a cluster)
	tilt up

##@ Tools

.PHONY: tools
tools: $(BIN)/golangci-lint $(BIN)/buf $(BIN)/jaeger ## build the pinned tools now instead of when needed

# A Go tool lives in a module outside the workspace, where it cannot move the
# product's dependencies.
$(BIN)/golangci-lint $(BIN)/jaeger: $(BIN)/%: tools/%/go.sum
	dir=$(CACHE)/$*-$$(sha256sum <$< | cut -c1-12); \
	[ -x $$dir/$* ] || GOWORK=off GOFLAGS= GOBIN=$$dir go -C tools/$* install tool; \
	mkdir -p $(BIN) && ln -sf $$dir/$* $@ && touch -h $@

# Jars, which tests run with java. KAFKA_HOME names an Apache Kafka that is
# there already.
$(BIN)/kafka: tools/kafka/pom.xml
	dir=$(CACHE)/kafka-$$(sha256sum <$< | cut -c1-12); \
	if [ ! -d $$dir ]; then \
		rm -rf $$dir.part; \
		mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$$dir.part; \
		mv $$dir.part $$dir; \
	fi; \
	mkdir -p $(BIN) && touch $$dir && ln -sfn $$dir $@

$(BIN)/buf: tools/buf/package.json
	npm install --prefix tools/buf --no-package-lock --no-audit --no-fund
	mkdir -p $(BIN) && ln -sf ../tools/buf/node_modules/.bin/buf $@ && touch -h $@

.PHONY: clean
clean: ## remove what make built here
	rm -rf $(BIN) tools/buf/node_modules cover.prof cover.html

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z][a-z0-9-]*:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile
