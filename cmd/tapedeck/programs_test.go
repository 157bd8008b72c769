package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// greeter serves HTTP on an address until its standard input ends. It writes the address, with the
// port that the system chose, into a file, which it first writes under another name.
func greeter() {
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		panic(err)
	}
	if err := os.WriteFile(os.Args[2]+".new", []byte(l.Addr().String()), 0o666); err != nil {
		panic(err)
	}
	if err := os.Rename(os.Args[2]+".new", os.Args[2]); err != nil {
		panic(err)
	}
	var count int
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count++
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s: answer %d\n", r.Method, r.URL, body, count)
	}))
}

// fetch gets URLs through HTTP_PROXY, including those of loopback, which Go's own rules leave out.
func fetch() {
	client := new(http.Client)
	if proxy, err := url.Parse(os.Getenv("HTTP_PROXY")); err != nil {
		panic(err)
	} else if proxy.Host != "" {
		client.Transport = &http.Transport{Proxy: http.ProxyURL(proxy)}
	}
	for _, url := range os.Args[1:] {
		res, err := client.Get(url)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(res.Status)
		io.Copy(os.Stdout, res.Body)
		res.Body.Close()
	}
}

// send sends text to a URL, with a method and optionally a header NAME: VALUE.
func send() {
	r, err := http.NewRequest(os.Args[1], os.Args[2], strings.NewReader(os.Args[3]))
	if err != nil {
		panic(err)
	}
	for _, field := range os.Args[4:] {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		panic(err)
	}
	fmt.Println(res.StatusCode)
	io.Copy(os.Stdout, res.Body)
}

// waiter prints that it is running, and which signal ends it.
func waiter() {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGTERM, syscall.SIGHUP)
	if err := os.WriteFile(os.Args[1], nil, 0o666); err != nil {
		panic(err)
	}
	fmt.Println("ended by", <-got)
	os.Exit(7)
}
