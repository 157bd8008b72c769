# Sourced by the hidden commands of pages in docs/: four requests to the application, and one
# that it sends, recorded into ./recordings as those of shop/cart.
. "$REPO/e2e/testdata/shop.sh"
APP_LABEL=cart APP_POD_NAMESPACE=shop APP_POD_NAME=cart-7d4b9-x2x REVERSE_PROXY_PORT=8080 TAPEDECK_SINK=file://$PWD/recordings tapedeck proxy 2> sidecar.log &
tapedeck healthz --wait 10s
for path in /carts/7 /carts/8?for=jane.doe@example.com /carts/13 /carts/7; do
  curl -s -H 'X-User: jane.doe@example.com' -H 'X-Debug: 1' "http://127.0.0.1:4143$path"
done > answers
http_proxy=http://127.0.0.1:4140 curl -s -H 'Host: ehr.internal' http://127.0.0.1:8080/patients/4711 >> answers
kill $! && wait $!
