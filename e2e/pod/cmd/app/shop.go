package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// shop is the application of a replay: customers log in and order. It asks a service in the
// mesh for prices, and a site outside for payments. It issues tokens and IDs, which its
// callers carry.
//
//	POST /login          issues a token
//	POST /orders         wants the token; asks PRICES and PAYMENTS
//	GET  /orders/{id}    wants the token
//
// The same program is also both dependencies, which log on standard output who asked:
//
//	GET  /prices/{item}
//	POST /payments
//
// CHANGE names a change of this build: with direct, it reads no proxy variables.
type shop struct {
	prices, payments, change string
	client                   *http.Client

	mu     sync.Mutex
	tokens map[string]string // user by token
	orders map[string]order
}

type order struct {
	ID       string `json:"id"`
	Item     string `json:"item"`
	Cents    int    `json:"cents"`
	Currency string `json:"currency,omitempty"`
	Payment  string `json:"payment"`
}

type payment struct {
	ID    string `json:"id,omitempty"`
	Order string `json:"order"`
	Cents int    `json:"cents"`
}

func newShop() *shop {
	s := &shop{
		prices: os.Getenv("PRICES"), payments: os.Getenv("PAYMENTS"), change: os.Getenv("CHANGE"), client: http.DefaultClient,
		tokens: map[string]string{}, orders: map[string]order{},
	}
	if s.change == "direct" {
		s.client = direct()
	}
	return s
}

func (s *shop) register(mux *http.ServeMux) {
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /orders", s.order)
	mux.HandleFunc("GET /orders/{id}", s.look)
	mux.HandleFunc("GET /prices/{item}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("asked", r.URL.Path)
		reply(w, http.StatusOK, map[string]int{"cents": 100 * len(r.PathValue("item"))})
	})
	mux.HandleFunc("POST /payments", func(w http.ResponseWriter, r *http.Request) {
		var p payment
		if !read(w, r, &p) {
			return
		}
		fmt.Println("asked", r.URL.Path, p.Order)
		p.ID = uuid.NewString()
		reply(w, http.StatusCreated, p)
	})
}

func (s *shop) login(w http.ResponseWriter, r *http.Request) {
	var who struct{ User string }
	if !read(w, r, &who) {
		return
	}
	token := uuid.NewString()
	s.mu.Lock()
	s.tokens[token] = who.User
	s.mu.Unlock()
	reply(w, http.StatusOK, map[string]string{"token": token, "user": who.User})
}

func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	var wanted struct{ Item string }
	if !s.known(w, r) || !read(w, r, &wanted) {
		return
	}
	o := order{ID: uuid.NewString(), Item: wanted.Item, Currency: "EUR"}
	var price struct{ Cents int }
	if err := s.call(r, http.MethodGet, s.prices+"/prices/"+o.Item, nil, &price); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	o.Cents = price.Cents
	var paid payment
	if err := s.call(r, http.MethodPost, s.payments+"/payments", payment{Order: o.ID, Cents: o.Cents}, &paid); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	o.Payment = paid.ID
	switch {
	case paid.Order != o.ID:
		http.Error(w, fmt.Sprintf("the payment is for %q, not for the order", paid.Order), http.StatusBadGateway)
		return
	case s.change == "currency":
		o.Currency = ""
	}
	s.mu.Lock()
	s.orders[o.ID] = o
	s.mu.Unlock()
	w.Header().Set("Location", "/orders/"+o.ID)
	reply(w, http.StatusCreated, o)
}

func (s *shop) look(w http.ResponseWriter, r *http.Request) {
	if !s.known(w, r) {
		return
	}
	s.mu.Lock()
	o, ok := s.orders[r.PathValue("id")]
	s.mu.Unlock()
	if !ok {
		http.Error(w, "no such order", http.StatusNotFound)
		return
	}
	reply(w, http.StatusOK, map[string]string{"id": o.ID, "item": o.Item})
}

// known reports whether the caller is logged in. If not, it answers the request.
func (s *shop) known(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	if !ok {
		http.Error(w, "log in first", http.StatusUnauthorized)
	}
	return ok
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func reply(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

// call asks a dependency.
func (s *shop) call(r *http.Request, method, url string, body, into any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, name := range traces {
		if v := r.Header.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s: %s: %s", url, res.Status, answer)
	}
	return json.Unmarshal(answer, into)
}
