// Connects the pods of a small cluster, one of these on every node: it tells containerd which addresses this node's pods get, routes the
// other nodes' pods to their nodes, and lets pods reach what is outside the cluster with the node's address.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	account    = "/var/run/secrets/kubernetes.io/serviceaccount/"
	configFile = "/etc/cni/net.d/10-pods.conflist"
	// a node that joins is connected within this time
	interval = 2 * time.Second
)

type node struct {
	Metadata struct{ Name string }
	Spec     struct{ PodCIDR string }
	Status   struct {
		Addresses []struct{ Type, Address string }
	}
}

func main() {
	name, podSubnet := os.Getenv("NODE_NAME"), os.Getenv("POD_SUBNET")
	client, err := newClient()
	if err != nil {
		log.Fatal(err)
	}
	routes := map[string]string{}
	for ; ; time.Sleep(interval) {
		nodes, err := listNodes(client)
		if err == nil {
			err = connect(name, podSubnet, nodes, routes)
		}
		if err != nil {
			log.Print(err)
		}
	}
}

// connect makes this machine fit the nodes; routes is what earlier calls have set.
func connect(name, podSubnet string, nodes []node, routes map[string]string) error {
	wanted := map[string]string{}
	for _, each := range nodes {
		if each.Spec.PodCIDR == "" {
			continue
		}
		if each.Metadata.Name != name {
			wanted[each.Spec.PodCIDR] = internalAddress(each)
		} else if err := writeConfig(each.Spec.PodCIDR); err != nil {
			return err
		}
	}
	for subnet, address := range wanted {
		if address == "" || routes[subnet] == address {
			continue
		}
		if err := run("ip", "route", "replace", subnet, "via", address); err != nil {
			return err
		}
		routes[subnet] = address
		log.Printf("pods %s are at %s", subnet, address)
	}
	for subnet := range routes {
		if wanted[subnet] == "" {
			if err := run("ip", "route", "del", subnet); err != nil {
				return err
			}
			delete(routes, subnet)
		}
	}
	return masquerade(podSubnet)
}

// writeConfig tells containerd how to connect a pod; without this file the node is not Ready.
func writeConfig(subnet string) error {
	config := fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/pod-addresses",
        "ranges": [[{ "subnet": %q }]],
        "routes": [{ "dst": "0.0.0.0/0" }]
      }
    },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
`, subnet)
	if present, err := os.ReadFile(configFile); err == nil && string(present) == config {
		return nil
	}
	log.Printf("this node's pods are %s", subnet)
	// containerd watches the folder and must not see half a file; it ignores this name
	unfinished := configFile + ".unfinished"
	if err := os.WriteFile(unfinished, []byte(config), 0o644); err != nil {
		return err
	}
	return os.Rename(unfinished, configFile)
}

// masquerade gives pods the node's address wherever their own is unknown.
func masquerade(podSubnet string) error {
	rule := []string{"POSTROUTING", "-s", podSubnet, "!", "-d", podSubnet, "-m", "addrtype", "!", "--dst-type", "LOCAL", "-j", "MASQUERADE"}
	if exec.Command("iptables", append([]string{"-w", "-t", "nat", "-C"}, rule...)...).Run() == nil {
		return nil
	}
	return run("iptables", append([]string{"-w", "-t", "nat", "-A"}, rule...)...)
}

func internalAddress(of node) string {
	for _, address := range of.Status.Addresses {
		if address.Type == "InternalIP" && net.ParseIP(address.Address).To4() != nil {
			return address.Address
		}
	}
	return ""
}

func listNodes(client *http.Client) ([]node, error) {
	// read anew: Kubernetes replaces it every hour
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return nil, err
	}
	// the API server itself, not its Service: kube-proxy may not run yet
	request, err := http.NewRequest("GET", "https://"+os.Getenv("CONTROL_PLANE_ENDPOINT")+"/api/v1/nodes", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the API server answers %s", response.Status)
	}
	var list struct{ Items []node }
	return list.Items, json.NewDecoder(response.Body).Decode(&list)
}

func newClient() (*http.Client, error) {
	certificate, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}, nil
}

func run(command string, arguments ...string) error {
	if output, err := exec.Command(command, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", command, strings.Join(arguments, " "), err, output)
	}
	return nil
}
