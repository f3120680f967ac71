# Needs go and make. `make help` lists what there is.

# The version comes from git where there is one, and is "dev" elsewhere.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# The version is stamped here, so go need not ask git for it, which fails in a
# folder that belongs to another user.
export GOFLAGS := $(strip $(filter-out -buildvcs=%,$(shell go env GOFLAGS)) -buildvcs=false)

# Binaries are static and do not depend on where they were built.
GOBUILD = CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

# Each folder here that has a main.go becomes a binary: the hub, the bundled
# connectors, and the examples of such. A server of one's own is no connector.
COMMANDS := $(patsubst %/main.go,%,$(wildcard cmd/avhub/main.go plugins/*/main.go) \
	$(filter-out examples/embed/main.go,$(wildcard examples/*/main.go)))
BINARIES := $(foreach c,$(COMMANDS),$(if $(filter cmd/avhub,$(c)),bin/avhub,bin/avhub-$(notdir $(c))))

.PHONY: help build run test lint fmt generate migration migration-sum check-generated golden fuzz bench torture clean $(BINARIES)

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | awk -F'|' '{ printf "  %-16s %s\n", $$1, $$2 }'

build: $(BINARIES) ## build all binaries into bin/

# go finds out by itself what is current, hence phony.
bin/avhub:
	$(GOBUILD) -o $@ ./cmd/avhub

$(filter bin/avhub-%,$(BINARIES)): bin/avhub-%:
	$(GOBUILD) -o $@ $(filter %/$*,$(addprefix ./,$(COMMANDS)))

run: build ## build everything and start the hub with a simulated AuthVital
	bin/avhub dev

test: ## everything that CI runs; installs what it needs where it can
	@MAKE='$(MAKE)' sh scripts/test.sh

lint: ## formatting, go vet, staticcheck
	@sh scripts/fmt-check.sh
	go vet ./...
	go tool staticcheck ./...

fmt: ## format all Go files
	gofmt -w .

generate: ## generate the protocol, ent's code and migrations
	sh scripts/generate.sh

migration: ## write what the migrations lack of the models: make migration NAME=what_changed
	@[ -n "$(NAME)" ] || { echo "name it: make migration NAME=what_changed" >&2; exit 2; }
	go test -count=1 ./core/store -run TestMigrationsMatchTheModels -migration $(NAME)

migration-sum: ## take migrations that were written by hand into atlas.sum
	go test -count=1 ./core/store -run TestMigrationsMatchTheModels -sum

check-generated: ## fail if generated code is not current
	sh scripts/check-generated.sh

golden: ## rewrite expected outputs and generated pages of the documentation
	sh scripts/golden.sh

fuzz: ## run every fuzz function for a few seconds
	sh scripts/fuzz.sh

bench: ## measure against the goals; prints one table
	CGO_ENABLED=0 go test -run '^$$' -bench . -timeout 60m ./internal/bench

torture: ## kill everything again and again under load: make torture KILLS=500 DURATION=10m SEED=7 RATE=120
	go test -count=1 -v -timeout 24h -run '^TestLaw[78]_.*Tortur' ./internal/torture \
		-torture.kills=$(or $(KILLS),200) -torture.duration=$(or $(DURATION),0) -torture.seed=$(or $(SEED),0) -torture.rate=$(or $(RATE),120)

clean: ## remove what was built
	rm -rf bin coverage.out
