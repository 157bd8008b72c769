# Sourced by the hidden commands of pages in docs/: builds checkout and prices of examples/shop
# into ./bin, and checkout-2, which charges for shipping.
mkdir src
cp -r "$REPO"/examples/shop/checkout "$REPO"/examples/shop/prices src/
cache=$(getent passwd "$(id -u)" | cut -d: -f6)/.cache/go-build
[ -d "$cache" ] && export GOCACHE=$cache
export CGO_ENABLED=0
(cd src && go mod init shop && go build -o ../bin/ ./checkout ./prices &&
  go build -o ../bin/checkout-2 -ldflags "-X main.shippingCents=490" ./checkout) > build.log 2>&1 || cat build.log
export PATH=$PWD/bin:$PATH

# The machine that runs the tests may be busy, which must not make a replay void.
printf '#!/bin/sh\n[ "$1" != replay ] || { shift; set -- replay --max-lag 10s "$@"; }\nexec %s "$@"\n' "$(command -v tapedeck)" > bin/.tapedeck
chmod +x bin/.tapedeck && mv bin/.tapedeck bin/tapedeck && hash -r
