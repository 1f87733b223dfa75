// The first process of every pod: it keeps the pod's namespaces, collects processes that lost their parent, and ends when it is told to.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			process, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if process <= 0 || err != nil {
				break
			}
		}
	}
}
