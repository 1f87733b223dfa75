// An S3 server out of the modules of the Versity gateway, under the arguments, variables and paths that the platform gives to MinIO:
//
//	minio server DIR [--console-address ADDRESS]
//
// It has no metrics for Prometheus: an empty answer says so, where a refusal would look like a service that is down.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

const (
	health  = "/minio/health/live"
	metrics = "/minio/v2/metrics/cluster"
	// what the portal calls it, as the label of the image does
	name = "another S3 server"
	// the gateway itself, behind what answers for its metrics
	socket = "/run/s3.sock"
)

func main() {
	if len(os.Args) < 3 || os.Args[1] != "server" {
		log.Fatal("usage: minio server DIR [--console-address ADDRESS]")
	}
	folder := os.Args[2]
	options := flag.NewFlagSet("server", flag.ExitOnError)
	console := options.String("console-address", "", "address of the console")
	_ = options.Parse(os.Args[3:])

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	backend, err := posix.New(folder, meta.XattrMeta{}, posix.PosixOpts{})
	if err != nil {
		log.Fatal(err)
	}
	config := embedgw.Config{
		RootUserAccess:    setting("MINIO_ROOT_USER"),
		RootUserSecret:    setting("MINIO_ROOT_PASSWORD"),
		Ports:             []string{socket},
		MaxConnections:    10_000,
		MaxRequests:       10_000,
		MultipartMaxParts: 10_000,
		KeepAlive:         true,
		Quiet:             true,
		HealthPath:        health,
		// pages of the console alone may read what is answered
		CORSAllowOrigin: os.Getenv("MINIO_BROWSER_REDIRECT_URL"),
	}
	if *console != "" {
		config.WebuiPorts = []string{*console}
		config.WebuiNoTLS = true
	}
	// left by a container that was killed
	_ = os.Remove(socket)
	go func() { log.Fatal(http.ListenAndServe(":9000", front())) }()
	if err := embedgw.RunVersityGW(ctx, backend, &config); err != nil {
		log.Fatal(err)
	}
}

// front passes every request on as it came, so that its signature stays true, and answers for the metrics.
func front() http.Handler {
	gateway := &url.URL{Scheme: "http", Host: "gateway"}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(gateway)
			request.Out.Host = request.In.Host
		},
		Transport: &http.Transport{
			DisableCompression: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			},
		},
		FlushInterval: -1,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Macula-Standin", name)
		if r.Method == http.MethodGet && r.URL.Path == metrics {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// setting is a variable, or the content of the file that NAME_FILE names: a path, or a name below /run/secrets.
func setting(name string) string {
	file := os.Getenv(name + "_FILE")
	if file == "" {
		return os.Getenv(name)
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join("/run/secrets", file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	return strings.TrimRight(string(text), "\r\n")
}
