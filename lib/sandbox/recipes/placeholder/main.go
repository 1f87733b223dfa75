// Stands where a service belongs that cannot be had on this machine. It answers the service's health path, so that what waits for the
// service goes on, and everything else with 501: nobody can mistake it for the service. Its one metric says what it is; a refusal would look to
// Prometheus like a service that is down.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	name, port, health := os.Getenv("PLACEHOLDER_FOR"), os.Getenv("PLACEHOLDER_PORT"), os.Getenv("PLACEHOLDER_HEALTH")
	// the real programs' own probe, for images without a shell
	for _, argument := range os.Args[1:] {
		if argument == "-health" {
			os.Exit(probe("http://127.0.0.1:" + port + health))
		}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	beside := strings.Fields(os.Getenv("PLACEHOLDER_BESIDE"))
	if len(beside) > 0 {
		program := exec.Command(beside[0], beside[1:]...)
		program.Stdout, program.Stderr = os.Stdout, os.Stderr
		if err := program.Start(); err != nil {
			log.Fatal(err)
		}
		go func() {
			log.Fatalf("%s ended: %v", beside[0], program.Wait())
		}()
	}
	// a container's other processes end with its first
	go func() {
		<-stop
		os.Exit(0)
	}()
	log.Printf("placeholder for %s: %s on port %s says healthy, nothing else works", name, health, port)
	log.Fatal(http.ListenAndServe(":"+port, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Macula-Standin", "placeholder")
		if r.URL.Path == "/metrics" {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			fmt.Fprintf(w, "# HELP macula_placeholder A placeholder stands here, which has no other metrics.\n# TYPE macula_placeholder gauge\nmacula_placeholder 1\n")
			return
		}
		if r.URL.Path != health {
			w.WriteHeader(http.StatusNotImplemented)
		}
		fmt.Fprintf(w, "placeholder: %s cannot be had on this machine; only its health path and /metrics answer\n", name)
	})))
}

func probe(url string) int {
	client := http.Client{Timeout: 2 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, response.Status)
		return 1
	}
	return 0
}
