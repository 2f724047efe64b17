// Go's own reverse proxy, as little around it as there can be: every request to one server, with the
// fields that the activator sets, connections kept on both sides. A contestant of bench.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"flag"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// Connections to the server that may rest. Go keeps two unless told, and makes all others anew.
const idle = 1024

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to serve")
	to := flag.String("to", "http://127.0.0.1:8000", "URL of the server")
	flag.Parse()
	server, err := url.Parse(*to)
	if err != nil {
		log.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = idle, idle
	transport.DisableCompression = true // bodies pass as they are
	transport.Proxy = nil
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(server)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
			var id [16]byte
			_, _ = rand.Read(id[:])
			r.Out.Header.Set("X-Request-Id", hex.EncodeToString(id[:]))
		},
	}
	log.Fatal(http.ListenAndServe(*listen, proxy))
}
