// Command prices is the dependency of the example. It serves the prices of items.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
)

var cents = map[string]int{"tea": 450, "coffee": 780, "cup": 1200}

func main() {
	address := ":8081"
	if v := os.Getenv("LISTEN"); v != "" {
		address = v
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /prices/{item}", func(w http.ResponseWriter, r *http.Request) {
		price, ok := cents[r.PathValue("item")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"item": r.PathValue("item"), "cents": price})
	})
	log.Printf("prices listens on %s", address)
	log.Fatal(http.ListenAndServe(address, mux))
}
