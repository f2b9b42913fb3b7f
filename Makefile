# Targets that a developer types; each is a line that can be typed by hand as well.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: build test fuzz soak bench docs

build: # one static program
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o postilion ./cmd/postilion

test: # everything, as continuous integration does
	./test

fuzz: # each parser for FUZZTIME, 5 minutes unless told
	@grep -rEo '^func Fuzz[A-Za-z0-9]+' --include='*_test.go' internal cmd | sed 's/func //' | while IFS=: read -r file name; do \
		echo "$$(dirname $$file) $$name"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(or $(FUZZTIME),5m) ./$$(dirname $$file) || exit 1; done

soak: # the long forms of crash, kill and load tests
	SOAK=1 go test -count=1 -timeout 6h ./internal/... ./cmd/... ./e2e/...
	go test -count=1 -timeout 1h -run TestMillion -v ./internal/queue/pebblestore -million 1000000

bench: # side by side with other servers, written to docs/performance.md
	go run ./bench -o docs/performance.md

docs: # what is generated from the code
	go run ./cmd/postilion config reference > docs/configuration.md.new
	mv docs/configuration.md.new docs/configuration.md
