// Command checkout is the application of the example. It answers GET /checkout with
// the price from the price service, which it asks through the proxy that its
// environment names, if any.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

type price struct {
	Item  string `json:"item"`
	Cents int    `json:"cents"`
}

type order struct {
	Item       string `json:"item"`
	Quantity   int    `json:"quantity"`
	TotalCents int    `json:"totalCents"`
}

// shippingCents is added to each total. The demo builds a second checkout with
// -ldflags "-X main.shippingCents=490", to show what a replay finds.
var shippingCents = "0"

func main() {
	shipping, err := strconv.Atoi(shippingCents)
	if err != nil {
		log.Fatalf("shippingCents: %v", err)
	}
	prices := env("PRICES_URL", "http://prices:8081")
	address := env("LISTEN", ":8080")
	client := &http.Client{Timeout: 5 * time.Second} // the default transport reads HTTP_PROXY

	mux := http.NewServeMux()
	mux.HandleFunc("GET /checkout", func(w http.ResponseWriter, r *http.Request) {
		item := r.URL.Query().Get("item")
		if item == "" {
			http.Error(w, "query parameter item is missing", http.StatusBadRequest)
			return
		}
		p, err := ask(r, client, prices+"/prices/"+url.PathEscape(item))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(order{Item: p.Item, Quantity: 2, TotalCents: 2*p.Cents + shipping})
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })

	log.Printf("checkout listens on %s and asks %s", address, prices)
	log.Fatal(http.ListenAndServe(address, mux))
}

// ask fetches a price. It passes on the caller's trace, which links the outbound call
// to the inbound one in a recording.
func ask(r *http.Request, client *http.Client, target string) (price, error) {
	var p price
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, target, nil)
	if err != nil {
		return p, err
	}
	for _, header := range []string{"Traceparent", "X-Request-Id"} {
		if v := r.Header.Get(header); v != "" {
			req.Header.Set(header, v)
		}
	}
	res, err := client.Do(req)
	if err != nil {
		return p, fmt.Errorf("ask for the price: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return p, fmt.Errorf("ask for the price: %s", res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil {
		return p, fmt.Errorf("read the price: %w", err)
	}
	return p, nil
}

func env(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}
